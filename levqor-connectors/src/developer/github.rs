//! GitHub: issues, files, workflows, releases. <https://docs.github.com/rest>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use levqor_core::types::Millis;

use crate::api::content::{TextOrNumber, take_bytes};
use crate::api::hook::{Hash, Hooks, Part, Scheme, Text, Told, at, heard};
use crate::api::{Api, Auth, Class, Done, Faults, Next, Object, Pages, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.github.com/rest",
    base: "https://api.github.com",
    auth: &[Auth::Bearer("a personal access token, or an installation's token")],
    headers: &[
        ("accept", "application/vnd.github+json"),
        ("x-github-api-version", "2022-11-28"),
    ],
    budgets: &[(5_000, Millis::hours(1))],
    key_header: "",
    faults: Faults {
        codes: &["/errors/0/code"],
        rules: &[("already_exists", Class::Conflict)],
        waits: &[Wait::At("x-ratelimit-reset")],
        remaining: "x-ratelimit-remaining",
        ..Faults::HTTP
    },
    ..Vendor::new(
        "github",
        "GitHub",
        "Issues, files, workflows and releases of repositories at GitHub.",
    )
};

input! {
    CreateIssue {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// The title.
        title: String,
        /// The text, in Markdown.
        body: Option<String>,
        /// Labels.
        labels: Option<Vec<String>>,
        /// Who is to do it.
        assignees: Option<Vec<String>>,
        /// The milestone's number.
        milestone: Option<u64>,
        /// The kind of issue.
        #[serde(rename = "type")]
        kind: Option<String>,
    }

    /// What is not given stays.
    UpdateIssue {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// The issue's number.
        issue_number: u64,
        /// The title.
        title: Option<String>,
        /// The text, in Markdown.
        body: Option<String>,
        /// `open` or `closed`.
        state: Option<String>,
        /// `completed`, `not_planned`, `duplicate` or `reopened`.
        state_reason: Option<String>,
        /// All its labels.
        labels: Option<Vec<String>>,
        /// All who are to do it.
        assignees: Option<Vec<String>>,
        /// The milestone's number; null for none.
        milestone: Option<u64>,
    }

    CreateComment {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// The number of the issue or pull request.
        issue_number: u64,
        /// The text, in Markdown.
        body: String,
    }

    ListIssues {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// `open`, `closed` or `all`.
        state: Option<String>,
        /// Labels that it has, separated by commas.
        labels: Option<String>,
        /// Who is to do it; `none`, or `*` for anybody.
        assignee: Option<String>,
        /// Who made it.
        creator: Option<String>,
        /// Only what changed since: RFC 3339.
        since: Option<String>,
        /// `created`, `updated` or `comments`.
        sort: Option<String>,
        /// `asc` or `desc`.
        direction: Option<String>,
        /// Issues a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        per_page: Option<u32>,
        /// The `next` of an earlier answer.
        next: Option<String>,
    }

    DispatchWorkflow {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// The workflow's id, or its file's name.
        workflow_id: TextOrNumber,
        /// The branch or tag.
        #[serde(rename = "ref")]
        reference: String,
        /// What the workflow asks for.
        inputs: Option<Object>,
    }

    /// A file: `text` or `base64`.
    PutFile {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// Where it lies: `docs/readme.md`.
        path: String,
        /// The commit's message.
        message: String,
        /// Its content, if it is text.
        text: Option<String>,
        /// Its content in Base64.
        base64: Option<String>,
        /// The `sha` of the file that is replaced; none for a new one.
        sha: Option<String>,
        /// The branch; the usual one if not given.
        branch: Option<String>,
        /// `name` and `email` of the committer.
        committer: Option<Object>,
        /// `name` and `email` of the author.
        author: Option<Object>,
    }

    GetFile {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// Where it lies: `docs/readme.md`.
        path: String,
        /// The branch, tag or commit; the usual branch if not given.
        #[serde(rename = "ref")]
        reference: Option<String>,
    }

    CreateRelease {
        /// The account that the repository belongs to.
        owner: String,
        /// The repository.
        repo: String,
        /// The tag.
        tag_name: String,
        /// The branch or commit of a new tag.
        target_commitish: Option<String>,
        /// The title.
        name: Option<String>,
        /// What is new, in Markdown.
        body: Option<String>,
        /// Nobody sees it yet.
        draft: Option<bool>,
        /// Not finished yet.
        prerelease: Option<bool>,
        /// Has GitHub write what is new.
        generate_release_notes: Option<bool>,
        /// `true`, `false` or `legacy`.
        make_latest: Option<String>,
    }
}

output! {
    Issue {
        /// The issue's id at GitHub.
        id: u64,
        /// Its number in the repository.
        number: u64,
        /// The title.
        title: Option<String>,
        /// The text.
        body: Option<String>,
        /// `open` or `closed`.
        state: Option<String>,
        /// Why it was closed.
        state_reason: Option<String>,
        /// Where people see it.
        html_url: Option<String>,
        /// Who made it.
        user: Option<Object>,
        /// Who is to do it.
        #[serde(default)]
        assignees: Vec<Object>,
        /// Its labels.
        #[serde(default)]
        labels: Vec<serde_json::Value>,
        /// It is a pull request.
        pull_request: Option<Object>,
        /// When it was made.
        created_at: Option<String>,
        /// When it was changed.
        updated_at: Option<String>,
        /// When it was closed.
        closed_at: Option<String>,
    }

    Issues {
        /// The issues and pull requests.
        items: Vec<Issue>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    Comment {
        /// The comment's id.
        id: u64,
        /// Where people see it.
        html_url: Option<String>,
        /// The text.
        body: Option<String>,
        /// When it was made.
        created_at: Option<String>,
    }

    Written {
        /// The file: `path`, `sha`, `html_url`.
        content: Option<Object>,
        /// The commit: `sha`, `html_url`.
        commit: Object,
    }

    File {
        /// Where it lies.
        path: String,
        /// What `put_file` takes to replace it.
        sha: String,
        /// Its size in bytes.
        size: Option<u64>,
        /// Its content in Base64, with line breaks; empty above 1 MB.
        content: Option<String>,
        /// Where people see it.
        html_url: Option<String>,
        /// Where its bytes are.
        download_url: Option<String>,
    }

    Release {
        /// The release's id.
        id: u64,
        /// The tag.
        tag_name: Option<String>,
        /// Where people see it.
        html_url: Option<String>,
        /// Where files for it are sent.
        upload_url: Option<String>,
        /// Nobody sees it yet.
        draft: Option<bool>,
        /// Not finished yet.
        prerelease: Option<bool>,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateIssue, Issue>("create_issue", "Make an issue", "Makes an issue.")
                .post("repos/{owner}/{repo}/issues")
                .scopes(&["repo"]),
            call::<UpdateIssue, Issue>("update_issue", "Change an issue", "Changes, closes or reopens an issue.")
                .patch("repos/{owner}/{repo}/issues/{issue_number}")
                .scopes(&["repo"]),
            call::<CreateComment, Comment>("create_comment", "Comment", "Comments on an issue or pull request.")
                .post("repos/{owner}/{repo}/issues/{issue_number}/comments")
                .scopes(&["repo"]),
            call::<ListIssues, Issues>("list_issues", "List issues", "Lists a repository's issues and pull requests.")
                .get("repos/{owner}/{repo}/issues")
                .pages(Pages {
                    items: "",
                    next: Next::Link,
                })
                .scopes(&["repo"]),
            call::<DispatchWorkflow, Done>(
                "dispatch_workflow",
                "Start a workflow",
                "Starts a workflow of GitHub Actions.",
            )
            .post("repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches")
            .status(&[])
            .scopes(&["repo"]),
            call::<PutFile, Written>("put_file", "Write a file", "Makes or replaces a file in a commit of its own.")
                .put("repos/{owner}/{repo}/contents/{path*}")
                .shape(|_, fields, _| {
                    let bytes = take_bytes(fields)?;
                    fields.insert("content".into(), STANDARD.encode(bytes).into());
                    Ok(())
                })
                .scopes(&["repo"]),
            call::<GetFile, File>("get_file", "Read a file", "Reads a file, and its `sha`.")
                .get("repos/{owner}/{repo}/contents/{path*}")
                .scopes(&["repo"]),
            call::<CreateRelease, Release>("create_release", "Make a release", "Makes a release, and its tag if need be.")
                .post("repos/{owner}/{repo}/releases")
                .scopes(&["repo"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened at GitHub.
    Happened {
        /// What: `issues`, `push`, `pull_request`, ...
        event: String,
        /// What of it: `opened`, `closed`, ...
        action: Option<String>,
        /// Where.
        repository: Option<Object>,
        /// Who.
        sender: Option<Object>,
        /// All that GitHub sent.
        payload: Object,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what GitHub signs events with: the webhook's secret");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "GitHub tells of a push, an issue, a release.",
        |hook, body| {
            let name = hook.header("x-github-event").unwrap_or_default();
            if name == "ping" {
                return vec![];
            }
            let action = at(body, "/action");
            vec![Told {
                id: hook.header("x-github-delivery").unwrap_or_default().to_owned(),
                kind: if action.is_empty() {
                    name.to_owned()
                } else {
                    format!("{name}.{action}")
                },
                at: None,
                data: json!({
                    "event": name, "action": body.get("action"), "repository": body.get("repository"),
                    "sender": body.get("sender"), "payload": body,
                }),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "x-hub-signature-256",
        prefix: "sha256=",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}
