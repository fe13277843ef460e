//! Content-Security-Policy, judged as MDN's HTTP Observatory does; the results carry its ids.

use std::collections::BTreeMap;

/// A policy: sources by directive, in lower case. Several policies are joined: each of them has to let a thing pass.
type Policy = BTreeMap<String, Vec<String>>;

/// The Observatory's result for a policy.
pub(super) fn judge(headers: &[&str], report_only: bool) -> &'static str {
    let policies: Vec<Policy> = headers.iter().flat_map(|h| h.split(',')).filter_map(parse).collect();
    if headers.is_empty() {
        return if report_only {
            "csp-not-implemented-but-reporting-enabled"
        } else {
            "csp-not-implemented"
        };
    }
    if policies.is_empty() {
        return "csp-header-invalid";
    }
    // What one of several policies forbids is forbidden: the best of them counts.
    let results = policies.iter().map(one);
    results
        .min_by_key(|r| RANK.iter().position(|x| x == r))
        .unwrap_or("csp-header-invalid")
}

/// From the best to the worst.
const RANK: &[&str] = &[
    "csp-implemented-with-no-unsafe-default-src-none",
    "csp-implemented-with-no-unsafe",
    "csp-implemented-with-unsafe-inline-in-style-src-only",
    "csp-implemented-with-insecure-scheme-in-passive-content-only",
    "csp-implemented-with-unsafe-eval",
    "csp-implemented-with-insecure-scheme",
    "csp-implemented-with-unsafe-inline",
    "csp-header-invalid",
];

/// Results that pass.
pub(super) const GOOD: &[&str] = &[
    "csp-implemented-with-no-unsafe-default-src-none",
    "csp-implemented-with-no-unsafe",
    "csp-implemented-with-unsafe-inline-in-style-src-only",
    "csp-implemented-with-insecure-scheme-in-passive-content-only",
];

const KNOWN: &[&str] = &[
    "default-src",
    "script-src",
    "script-src-elem",
    "script-src-attr",
    "style-src",
    "style-src-elem",
    "style-src-attr",
    "img-src",
    "font-src",
    "connect-src",
    "media-src",
    "object-src",
    "frame-src",
    "child-src",
    "worker-src",
    "manifest-src",
    "prefetch-src",
    "base-uri",
    "form-action",
    "frame-ancestors",
    "navigate-to",
    "sandbox",
    "report-uri",
    "report-to",
    "upgrade-insecure-requests",
    "block-all-mixed-content",
    "require-sri-for",
    "require-trusted-types-for",
    "trusted-types",
    "plugin-types",
    "fenced-frame-src",
];

fn parse(text: &str) -> Option<Policy> {
    let mut policy = Policy::new();
    for directive in text.split(';') {
        let mut words = directive.split_whitespace();
        let Some(name) = words.next() else { continue };
        // The first of two equal ones counts (CSP3, parse a serialized CSP).
        policy
            .entry(name.to_ascii_lowercase())
            .or_insert_with(|| words.map(str::to_ascii_lowercase).collect());
    }
    policy.keys().any(|k| KNOWN.contains(&k.as_str())).then_some(policy)
}

/// What the policy has for a directive, or for the one that it falls back to.
fn sources<'p>(policy: &'p Policy, names: &[&str]) -> Option<&'p Vec<String>> {
    names
        .iter()
        .find_map(|n| policy.get(*n))
        .or_else(|| policy.get("default-src"))
}

fn one(policy: &Policy) -> &'static str {
    let has = |list: Option<&Vec<String>>, words: &[&str]| list.is_some_and(|l| l.iter().any(|s| words.contains(&s.as_str())));
    let script = sources(policy, &["script-src"]);
    let style = sources(policy, &["style-src"]);
    let object = sources(policy, &["object-src"]);
    let nonced = |list: Option<&Vec<String>>| {
        list.is_some_and(|l| {
            l.iter().any(|s| {
                ["'nonce-", "'sha256-", "'sha384-", "'sha512-"]
                    .iter()
                    .any(|p| s.starts_with(p))
            })
        })
    };
    let strict = has(script, &["'strict-dynamic'"]) && nonced(script);
    let wide = ["*", "http:", "https:", "http://*", "https://*", "data:"];
    // Without a word on scripts, or with all of the world, anything may run.
    if script.is_none() || (has(script, &wide) && !strict) {
        return "csp-implemented-with-unsafe-inline";
    }
    if has(script, &["'unsafe-inline'"]) && !nonced(script) {
        return "csp-implemented-with-unsafe-inline";
    }
    if !has(object, &["'none'"]) && (object.is_none() || has(object, &wide)) && !strict {
        return "csp-implemented-with-unsafe-inline";
    }
    let insecure = |l: &Vec<String>| l.iter().any(|s| s == "http:" || s.starts_with("http://"));
    let passive = ["img-src", "media-src"];
    let active = policy
        .iter()
        .filter(|(n, _)| n.ends_with("-src") && !passive.contains(&n.as_str()));
    if active.clone().any(|(_, l)| insecure(l)) {
        return "csp-implemented-with-insecure-scheme";
    }
    if has(script, &["'unsafe-eval'"]) {
        return "csp-implemented-with-unsafe-eval";
    }
    if passive.iter().filter_map(|n| policy.get(*n)).any(insecure) {
        return "csp-implemented-with-insecure-scheme-in-passive-content-only";
    }
    let style_wide =
        (has(style, &["'unsafe-inline'"]) && !nonced(style)) || style.is_none() || has(style, &["*", "data:", "https:"]);
    if style_wide {
        return "csp-implemented-with-unsafe-inline-in-style-src-only";
    }
    if policy.get("default-src").is_some_and(|l| l == &["'none'"]) {
        return "csp-implemented-with-no-unsafe-default-src-none";
    }
    "csp-implemented-with-no-unsafe"
}

/// Whether a policy says anything about framing.
pub(super) fn names_framing(headers: &[&str]) -> bool {
    let mut policies = headers.iter().flat_map(|h| h.split(',')).filter_map(parse);
    policies.any(|p| p.contains_key("frame-ancestors"))
}

/// Whether a policy forbids strangers to frame the page.
pub(super) fn forbids_framing(headers: &[&str]) -> bool {
    let policies = headers.iter().flat_map(|h| h.split(',')).filter_map(parse);
    policies.filter_map(|p| p.get("frame-ancestors").cloned()).any(|list| {
        !list
            .iter()
            .any(|s| matches!(s.as_str(), "*" | "http:" | "https:" | "http://*" | "https://*"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_get_the_observatory_s_ids() {
        for (policy, id) in [
            (
                "default-src 'none'; script-src 'self'; style-src 'self'",
                "csp-implemented-with-no-unsafe-default-src-none",
            ),
            ("default-src 'self'", "csp-implemented-with-no-unsafe"),
            (
                "default-src 'self'; style-src 'self' 'unsafe-inline'",
                "csp-implemented-with-unsafe-inline-in-style-src-only",
            ),
            ("default-src 'self' 'unsafe-inline'", "csp-implemented-with-unsafe-inline"),
            (
                "default-src 'self'; script-src 'self' 'unsafe-eval'",
                "csp-implemented-with-unsafe-eval",
            ),
            (
                "default-src 'self'; script-src http://cdn.example",
                "csp-implemented-with-insecure-scheme",
            ),
            (
                "default-src 'self'; img-src http://cdn.example",
                "csp-implemented-with-insecure-scheme-in-passive-content-only",
            ),
            ("default-src *", "csp-implemented-with-unsafe-inline"),
            ("img-src 'self'", "csp-implemented-with-unsafe-inline"),
            (
                "script-src 'nonce-abc' 'strict-dynamic' 'unsafe-inline' https:; object-src 'none'; style-src 'self'",
                "csp-implemented-with-no-unsafe",
            ),
            ("nonsense", "csp-header-invalid"),
        ] {
            assert_eq!(judge(&[policy], false), id, "{policy}");
        }
        assert_eq!(judge(&[], false), "csp-not-implemented");
        assert_eq!(
            judge(&["default-src *", "default-src 'self'"], false),
            "csp-implemented-with-no-unsafe"
        );
        assert!(forbids_framing(&["frame-ancestors 'none'"]) && !forbids_framing(&["frame-ancestors *"]));
    }
}
