/// The name that was most likely meant: the nearest by edit distance, if at most a third of it differs.
pub(super) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong: Vec<char> = wrong.chars().take(64).collect();
    names
        .map(|name| (distance(&wrong, name), name))
        .filter(|(d, name)| *d <= (name.len().max(wrong.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// Insertions, deletions, changes and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; a.len() + 1];
    let mut last: Vec<usize> = (0..=a.len()).collect();
    for i in 0..b.len() {
        let mut row = vec![i + 1];
        for j in 0..a.len() {
            let change = last[j] + usize::from(a[j] != b[i]);
            let mut best = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[j] == b[i - 1] && a[j - 1] == b[i] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[a.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let names = ["http", "webhook", "email"];
        for (wrong, meant) in [
            ("htpp", Some("http")),
            ("webhok", Some("webhook")),
            ("e-mail", Some("email")),
            ("", None),
            ("telegram", None),
        ] {
            assert_eq!(nearest(wrong, names.into_iter()), meant, "{wrong}");
        }
        let d = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), b);
        assert_eq!(
            (d("kitten", "sitting"), d("wirte", "write"), d("", "abc"), d("abc", "")),
            (3, 1, 3, 3)
        );
    }
}
