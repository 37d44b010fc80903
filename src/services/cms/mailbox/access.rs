//! Who opens a mailbox.

use std::fmt;

use zeroize::Zeroizing;

/// What a session needs to log in. Its password is wiped on drop and never printed.
#[derive(Clone)]
pub struct Access {
    /// The user's address.
    pub user: String,
    /// Name at the login, as `End::login` forms it.
    pub login: String,
    /// With `authzid`: who logs in; `login` is then the authorization identity.
    pub master: Option<String>,
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({})", self.user)
    }
}
