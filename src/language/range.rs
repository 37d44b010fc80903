//! Ranges in names and values: `"mbx-[01:62]"`, `[1:9:2]`, `[a:f]`, `[red,dub]`, mixed with commas; several brackets
//! multiply, the leftmost slowest. Never expanded as a whole: an element is computed when it is asked for, so that a
//! hostile range costs nothing before its size is known.

/// More names than this from one text are refused.
pub(super) const MAX_ITEMS: u64 = 250_000;

#[derive(Debug, Clone, PartialEq)]
enum Item {
    Word(String),
    Numbers { first: u64, step: u64, count: u64, width: usize },
    Letters { first: u8, step: u64, count: u64 },
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Bracket { items: Vec<Item>, count: u64 },
}

/// A text with at least one range in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    count: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum RangeError {
    /// What is wrong inside which bracket.
    Bad {
        bracket: String,
        why: String,
    },
    TooMany,
}

impl Pattern {
    /// `Ok(None)` when the text holds no range: brackets without `:` or `,` are plain text.
    pub fn parse(text: &str) -> Result<Option<Self>, RangeError> {
        if !text.contains('[') {
            return Ok(None);
        }
        let (mut parts, mut count, mut rest, mut ranges) = (Vec::new(), 1u64, text, 0);
        while let Some(open) = rest.find('[') {
            let Some(close) = rest[open..].find(']').map(|i| open + i) else { break };
            let body = &rest[open + 1..close];
            if body.contains([':', ',']) {
                let (items, n) = bracket(body)?;
                count = count.checked_mul(n).filter(|c| *c <= MAX_ITEMS).ok_or(RangeError::TooMany)?;
                parts.push(Part::Text(rest[..open].to_owned()));
                parts.push(Part::Bracket { items, count: n });
                ranges += 1;
            } else {
                parts.push(Part::Text(rest[..=close].to_owned()));
            }
            rest = &rest[close + 1..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok((ranges > 0).then_some(Self { parts, count }))
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// The text of element `index` and the texts of its brackets, which `$1`, `$2` stand for.
    pub fn nth(&self, index: usize) -> (String, Vec<String>) {
        let mut rest = index as u64;
        let mut picks = Vec::new();
        for part in self.parts.iter().rev() {
            if let Part::Bracket { items, count } = part {
                picks.push(pick(items, rest % count));
                rest /= count;
            }
        }
        picks.reverse();
        let mut text = String::new();
        let mut next = picks.iter();
        for part in &self.parts {
            match part {
                Part::Text(t) => text.push_str(t),
                Part::Bracket { .. } => text.push_str(next.next().map_or("", String::as_str)),
            }
        }
        (text, picks)
    }

    pub fn iter(&self) -> impl Iterator<Item = (String, Vec<String>)> + '_ {
        (0..self.len()).map(|i| self.nth(i))
    }
}

fn pick(items: &[Item], mut index: u64) -> String {
    for item in items {
        let n = item.count();
        if index < n {
            return match item {
                Item::Word(w) => w.clone(),
                Item::Numbers { first, step, width, .. } => format!("{:0width$}", first + index * step),
                Item::Letters { first, step, .. } => char::from(first + (index * step) as u8).to_string(),
            };
        }
        index -= n;
    }
    String::new()
}

impl Item {
    fn count(&self) -> u64 {
        match self {
            Item::Word(_) => 1,
            Item::Numbers { count, .. } | Item::Letters { count, .. } => *count,
        }
    }
}

fn bracket(body: &str) -> Result<(Vec<Item>, u64), RangeError> {
    let bad = |why: String| RangeError::Bad { bracket: format!("[{body}]"), why };
    let mut items = Vec::new();
    let mut count = 0u64;
    for text in body.split(',') {
        let text = text.trim();
        if text.is_empty() {
            return Err(bad("an item is empty".into()));
        }
        let item = if text.contains(':') { bounds(text).map_err(bad)? } else { Item::Word(text.to_owned()) };
        count = count.checked_add(item.count()).filter(|c| *c <= MAX_ITEMS).ok_or(RangeError::TooMany)?;
        items.push(item);
    }
    Ok((items, count))
}

fn bounds(text: &str) -> Result<Item, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (first, last, step) = match parts.as_slice() {
        [a, b] => (*a, *b, 1),
        [a, b, s] => (
            *a,
            *b,
            s.parse::<u64>().ok().filter(|s| *s > 0).ok_or_else(|| format!("the step `{s}` is no number above 0"))?,
        ),
        _ => return Err(format!("`{text}` is not FIRST:LAST or FIRST:LAST:STEP")),
    };
    let number = |t: &str| {
        (!t.is_empty() && t.len() <= 18 && t.bytes().all(|b| b.is_ascii_digit()))
            .then(|| t.parse::<u64>().ok())
            .flatten()
    };
    if let (Some(a), Some(b)) = (number(first), number(last)) {
        if b < a {
            return Err(format!("`{first}` comes after `{last}`"));
        }
        // The first says the width, so that `[01:$count]` goes with any count. A last one that is padded to another contradicts it.
        let padded = |t: &str| t.starts_with('0') && t.len() > 1;
        if first.len() != last.len() && padded(last) {
            let width = first.len().max(last.len());
            return Err(format!("its ends are of two widths; write [{a:0width$}:{b:0width$}] or [{a}:{b}]"));
        }
        let width = if padded(first) { first.len() } else { 1 };
        return Ok(Item::Numbers { first: a, step, count: (b - a) / step + 1, width });
    }
    if let ([a], [b]) = (first.as_bytes(), last.as_bytes())
        && (a.is_ascii_lowercase() && b.is_ascii_lowercase() || a.is_ascii_uppercase() && b.is_ascii_uppercase())
    {
        if b < a {
            return Err(format!("`{first}` comes after `{last}`"));
        }
        return Ok(Item::Letters { first: *a, step, count: u64::from(b - a) / step + 1 });
    }
    Err(format!("`{text}` needs two numbers or two letters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        Pattern::parse(text).expect("valid").expect("a range").iter().map(|(t, _)| t).collect()
    }

    #[test]
    fn expands() {
        assert_eq!(all("mbx-[01:03]"), ["mbx-01", "mbx-02", "mbx-03"]);
        assert_eq!(all("[1:9:4]"), ["1", "5", "9"]);
        assert_eq!(all("[a:c]"), ["a", "b", "c"]);
        assert_eq!(all("[red,dub]-[1:2]"), ["red-1", "red-2", "dub-1", "dub-2"]);
        assert_eq!(all("[01:02,08:09,x]"), ["01", "02", "08", "09", "x"]);
        assert_eq!(all("[08:11]"), ["08", "09", "10", "11"]);
        assert_eq!(all("[01:2]"), ["01", "02"]);
        assert_eq!(all("[099:100]"), ["099", "100"]);
        let p = Pattern::parse("x-[a,b]-[1:3]").expect("valid").expect("a range");
        assert_eq!(p.nth(4), ("x-b-2".into(), vec!["b".into(), "2".into()]));
    }

    #[test]
    fn plain_brackets_stay() {
        assert_eq!(Pattern::parse("[192.0.2.1]"), Ok(None));
        assert_eq!(Pattern::parse("a[b"), Ok(None));
        assert_eq!(all("[x]-[1:2]"), ["[x]-1", "[x]-2"]);
    }

    #[test]
    fn refuses() {
        assert_eq!(Pattern::parse("[1:1000000000]"), Err(RangeError::TooMany));
        assert_eq!(Pattern::parse("[1:1000][1:1000]"), Err(RangeError::TooMany));
        for bad in [
            "[5:1]",
            "[1:09]",
            "[01:009]",
            "[001:09]",
            "[1:a]",
            "[::1]",
            "[1,,2]",
            "[1:9:0]",
            "[1:2:3:4]",
            "[1:99999999999999999999]",
        ] {
            assert!(matches!(Pattern::parse(bad), Err(RangeError::Bad { .. })), "{bad}");
        }
        assert_eq!(Pattern::parse("m[1:10000]").expect("valid").expect("range").len(), 10_000);
    }
}
