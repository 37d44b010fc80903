//! The person at the keyboard: which key signs, and whose it is.

use std::path::PathBuf;

use super::super::failure::Failure;
use super::signature;
use super::standing::Standing;
use crate::process::record::Record;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct SignerArgs {
    /// Key that signs: a private one, or a public one (`.pub`) whose private half an agent or a token holds; else user.signingKey of git
    #[arg(long, value_name = "PATH")]
    pub key: Option<PathBuf>,
    /// The person who signs; else the one whose key it is
    #[arg(long = "as", value_name = "PERSON")]
    pub person: Option<String>,
}

impl SignerArgs {
    pub fn given(&self) -> bool {
        self.key.is_some() || self.person.is_some()
    }
}

pub struct Signer {
    pub person: String,
    key: PathBuf,
    public: String,
}

impl Signer {
    /// Finds the key and its person, by who decides now. Nothing is signed yet.
    pub fn find(args: &SignerArgs, standing: &Standing) -> Result<Self, Failure> {
        let configured = || standing.repository.as_ref().and_then(|r| r.config("user.signingKey")).map(PathBuf::from);
        let key = args.key.clone().or_else(configured).ok_or_else(|| {
            Failure::new("no key to sign with").help("say --key ~/.ssh/id_ed25519, or set user.signingKey in git")
        })?;
        let public = signature::public_of(&key).map_err(|e| Failure::new(e).help("say --key PATH of an SSH key"))?;
        let holder = standing.now.holder(&public).or_else(|| standing.deciders().holder(&public));
        let Some(holder) = holder else {
            return Err(Failure::new(format!("{} is the key of nobody in the topology", key.display()))
                .help("write signing-key=\"people/NAME.pub\" at the person, commit it, and have those who decide now approve that"));
        };
        match &args.person {
            Some(person) if standing.now.person(person).is_none() => {
                Err(Failure::new(format!("the topology has no person `{person}`")))
            }
            Some(person) if !standing.now.owns(person, &public) && !standing.deciders().owns(person, &public) => {
                Err(Failure::new(format!("{} is not a key of {person}: it is {holder}'s", key.display())))
            }
            Some(person) => Ok(Self { person: person.clone(), key, public }),
            None => Ok(Self { person: holder.to_owned(), key, public }),
        }
    }

    /// Signs and stores a record. Returns its file.
    pub fn record(&self, standing: &Standing, record: &Record) -> Result<String, Failure> {
        let namespace = Record::namespace(&standing.organization);
        let signature = signature::sign(&record.bytes(), &self.key, &namespace).map_err(Failure::new)?;
        super::write(&standing.root, record, &signature)
    }

    pub fn path(&self) -> &std::path::Path {
        &self.key
    }

    pub fn public(&self) -> &str {
        &self.public
    }
}
