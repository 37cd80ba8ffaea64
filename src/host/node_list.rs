//! Lists of nodes as Slurm writes them: `n[1-3,07],login`.

/// More nodes than any machine has.
const MANY: usize = 1 << 16;

/// The names, in their order; `None` if it is no such list.
pub(super) fn expand(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for part in split(list)? {
        let Some((prefix, rest)) = part.split_once('[') else {
            names.push(part.to_owned());
            continue;
        };
        let (ranges, suffix) = rest.split_once(']')?;
        let is_plain = prefix.chars().chain(suffix.chars()).all(|c| !matches!(c, '[' | ']'));
        if !is_plain {
            return None; // several dimensions, which are rare
        }
        for range in ranges.split(',') {
            add_range(&mut names, prefix, range, suffix)?;
        }
    }
    Some(names)
}

/// Its parts, between the commas that are in no brackets.
fn split(list: &str) -> Option<Vec<&str>> {
    let mut depth = 0_usize;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, c) in list.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    (depth == 0 && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// `1-3` or `07`: numbers keep their zeros.
fn add_range(names: &mut Vec<String>, prefix: &str, range: &str, suffix: &str) -> Option<()> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let width = first.len();
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    if last < first || last - first >= MANY {
        return None;
    }
    names.extend((first..=last).map(|number| format!("{prefix}{number:0width$}{suffix}")));
    (names.len() <= MANY).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_slurm_writes_them() {
        let lists = [
            ("n1", vec!["n1"]),
            ("n1,m2", vec!["n1", "m2"]),
            ("n[1-3]", vec!["n1", "n2", "n3"]),
            ("n[08-10,12],login", vec!["n08", "n09", "n10", "n12", "login"]),
            ("r[1-2]c,x[7]", vec!["r1c", "r2c", "x7"]),
        ];
        for (list, names) in lists {
            assert_eq!(expand(list).unwrap(), names, "{list}");
        }
    }

    #[test]
    fn what_is_no_list_is_not_guessed() {
        for list in
            ["", "a,", "n[", "n]", "n[1", "n[1-", "n[x]", "n[2-1]", "n[1-99999999]", "a[1]b[2]"]
        {
            assert_eq!(expand(list), None, "{list}");
        }
    }
}
