//! "Did you mean …?" for names that are unknown.

/// The known name that is nearest to a wrong one, if any is near enough to be what was meant: at most one
/// edit in three characters, and never more than three.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 128;
    let wrong: Vec<char> = name.chars().take(LONGEST + 1).collect();
    let allowed = (wrong.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|k| k.len() <= LONGEST && k.chars().count().abs_diff(wrong.len()) <= allowed)
        .map(|k| (distance(&wrong, &k.chars().collect::<Vec<_>>()), k))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, k)| k)
}

/// A hint to append to a message: `; did you mean `x`?`, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, known).map_or_else(String::new, |k| format!("; did you mean `{k}`?"))
}

/// Edit distance with insertion, deletion, replacement and the swap of two neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["find", "create", "notify", "http.request"];
        for (wrong, meant) in [
            ("fnd", Some("find")),
            ("fidn", Some("find")),
            ("creat", Some("create")),
            ("http.reqeust", Some("http.request")),
            ("x", None),
            ("", None),
            ("destroy", None),
        ] {
            assert_eq!(closest(wrong, known), meant, "{wrong}");
        }
        assert_eq!(closest(&"x".repeat(100_000), known), None);
    }
}
