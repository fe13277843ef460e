//! Jira Cloud: issues, comments, transitions. <https://developer.atlassian.com/cloud/jira/platform/rest/v3/>

use levqor_core::error::Result;
use serde_json::{Value, json};

use crate::api::content::take_list;
use crate::api::hook::{Hash, Hooks, Part, Scheme, Text, Told, at, heard, millis};
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Done, Faults, Next, Object, Pages, Session, Style, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developer.atlassian.com/cloud/jira/platform/rest/v3/",
    base: "https://{@site}.atlassian.net https://api.atlassian.com/ex/jira/{@cloud_id}",
    auth: &[
        Auth::Basic(("email", "whose API token it is"), ("api_token", "an API token, `ATATT…`")),
        Auth::Renewed(&Grant::code("https://auth.atlassian.com/oauth/token")),
    ],
    settings: &[
        ("site", "what stands before `.atlassian.net`, with an API token"),
        ("cloud_id", "the site's id, with OAuth"),
    ],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/errorMessages/0"],
        waits: &[Wait::In("x-ratelimit-reset")],
        rules: &[("Client must be authenticated to access this resource.", Class::Unauthorized)],
        ..Faults::HTTP
    },
    ..Vendor::new("jira", "Jira", "Issues of a Jira Cloud site.")
};

input! {
    #[serde(rename_all = "camelCase")]
    CreateIssue {
        /// The project's key: `OPS`.
        project: String,
        /// The kind of issue by name: `Task`, `Bug`.
        issue_type: String,
        /// Its title.
        #[schemars(length(min = 1, max = 255))]
        summary: String,
        /// What is to be said: a text, of which each line is a paragraph, or a document of Atlassian's.
        description: Option<Value>,
        /// The account id of who does it.
        assignee: Option<String>,
        /// The priority by name.
        priority: Option<String>,
        /// Labels.
        labels: Option<Vec<String>>,
        /// The key or id of the issue that it is a part of.
        parent: Option<String>,
        /// Other fields, by id: `customfield_10010`.
        fields: Option<Object>,
    }

    /// What is not given stays.
    #[serde(rename_all = "camelCase")]
    UpdateIssue {
        /// The issue's key or id.
        issue: String,
        /// Fields by id, with their new values.
        fields: Option<Object>,
        /// What is added to fields or taken away, by id: lists of `add`, `remove`, `set`.
        update: Option<Object>,
        /// Tells the watchers; yes if not given.
        notify_users: Option<bool>,
    }

    GetIssue {
        /// The issue's key or id.
        issue: String,
        /// Ids of the fields that are wanted; all if not given.
        fields: Option<Vec<String>>,
        /// What else is told: `renderedFields`, `changelog`, `transitions`, ...
        expand: Option<Vec<String>>,
    }

    #[serde(rename_all = "camelCase")]
    Search {
        /// The condition, in Jira's query language, with a bound in it: `project = OPS AND created > -7d`.
        jql: String,
        /// Ids of the fields that are wanted; `*navigable` if not given.
        fields: Option<Vec<String>>,
        /// Issues a page, at most 5000.
        #[schemars(range(min = 1, max = 5000))]
        max_results: Option<u32>,
        /// The `next` of an earlier answer.
        next_page_token: Option<String>,
    }

    AddComment {
        /// The issue's key or id.
        issue: String,
        /// A text, of which each line is a paragraph, or a document of Atlassian's.
        body: Value,
        /// Who may see it: `type`, `value`.
        visibility: Option<Object>,
    }

    ListTransitions {
        /// The issue's key or id.
        issue: String,
    }

    Transition {
        /// The issue's key or id.
        issue: String,
        /// The transition's id.
        transition: String,
        /// Fields of the transition's screen, by id.
        fields: Option<Object>,
        /// What is added to fields or taken away, by id.
        update: Option<Object>,
    }

    #[serde(rename_all = "camelCase")]
    Assign {
        /// The issue's key or id.
        issue: String,
        /// The account id of who does it; null for nobody, `-1` for whom the project says.
        account_id: Option<String>,
    }
}

output! {
    Created {
        /// Its id.
        id: String,
        /// Its key: `OPS-7`.
        key: String,
        /// Its address in the interface.
        #[serde(rename = "self")]
        address: Option<String>,
    }

    Issue {
        /// Its id.
        id: String,
        /// Its key: `OPS-7`; not told where no fields were asked for.
        key: Option<String>,
        /// Its fields by id.
        fields: Option<Object>,
    }

    Issues {
        /// The issues.
        issues: Vec<Issue>,
        /// The token of the next page; null at the end.
        next: Option<String>,
    }

    Comment {
        /// Its id.
        id: String,
        /// Who wrote it.
        author: Option<Object>,
        /// When.
        created: Option<String>,
        /// Its document.
        body: Option<Value>,
    }

    TransitionTo {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// The status that it leads to.
        to: Option<Object>,
    }

    Transitions {
        /// What can be done with the issue now.
        transitions: Vec<TransitionTo>,
    }
}

/// A text as a document of Atlassian's: a paragraph for each line.
fn document(value: Value) -> Value {
    let Value::String(text) = value else {
        return value;
    };
    let paragraph = |line: &str| match line {
        "" => json!({"type": "paragraph", "content": []}),
        line => json!({"type": "paragraph", "content": [{"type": "text", "text": line}]}),
    };
    let content: Vec<Value> = text.lines().map(paragraph).collect();
    json!({"type": "doc", "version": 1, "content": content})
}

fn create(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    let mut issue = match fields.remove("fields") {
        Some(Value::Object(own)) => own,
        _ => Object::new(),
    };
    for (name, value) in std::mem::take(fields) {
        let (name, value) = match name.as_str() {
            "project" | "parent" => (name, json!({"key": value})),
            "issueType" => ("issuetype".to_owned(), json!({"name": value})),
            "assignee" => (name, json!({"accountId": value})),
            "priority" => (name, json!({"name": value})),
            "description" => (name, document(value)),
            _ => (name, value),
        };
        issue.insert(name, value);
    }
    fields.insert("fields".into(), issue.into());
    Ok(())
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateIssue, Created>("create_issue", "Open an issue", "Opens an issue in a project.")
                .post("rest/api/3/issue")
                .shape(create)
                .scopes(&["write:jira-work"]),
            call::<UpdateIssue, Done>("update_issue", "Change an issue", "Changes an issue's fields.")
                .put("rest/api/3/issue/{issue}")
                .once()
                .query(&["notifyUsers"])
                .status(&[])
                .scopes(&["write:jira-work"]),
            call::<GetIssue, Issue>("get_issue", "Get an issue", "Gets an issue.")
                .get("rest/api/3/issue/{issue}")
                .shape(|ask, fields, _| {
                    if let Some(list) = take_list(fields, "expand") {
                        ask.query.push(("expand".into(), list));
                    }
                    Ok(())
                })
                .scopes(&["read:jira-work"]),
            call::<Search, Issues>("search_issues", "Search issues", "Finds issues by Jira's query language.")
                .post("rest/api/3/search/jql")
                .reads()
                .shape(|_, fields, _| {
                    fields.entry("fields").or_insert_with(|| json!(["*navigable"]));
                    Ok(())
                })
                .pages(Pages {
                    items: "/issues",
                    next: Next::Cursor("/nextPageToken", "nextPageToken"),
                })
                .scopes(&["read:jira-work"]),
            call::<AddComment, Comment>("add_comment", "Comment on an issue", "Adds a comment to an issue.")
                .post("rest/api/3/issue/{issue}/comment")
                .shape(|_, fields, _| {
                    if let Some(body) = fields.remove("body") {
                        fields.insert("body".into(), document(body));
                    }
                    Ok(())
                })
                .scopes(&["write:jira-work"]),
            call::<ListTransitions, Transitions>(
                "list_transitions",
                "List transitions",
                "Lists what can be done with an issue now.",
            )
            .get("rest/api/3/issue/{issue}/transitions")
            .scopes(&["read:jira-work"]),
            call::<Transition, Done>("transition_issue", "Move an issue on", "Does a transition with an issue.")
                .post("rest/api/3/issue/{issue}/transitions")
                .shape(|_, fields, _| {
                    if let Some(id) = fields.remove("transition") {
                        fields.insert("transition".into(), json!({"id": id}));
                    }
                    Ok(())
                })
                .status(&[])
                .scopes(&["write:jira-work"]),
            call::<Assign, Done>("assign_issue", "Assign an issue", "Says who does an issue.")
                .put("rest/api/3/issue/{issue}/assignee")
                .shape(|_, fields, _| {
                    fields.entry("accountId").or_insert(Value::Null);
                    Ok(())
                })
                .status(&[])
                .scopes(&["write:jira-work"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened in Jira.
    #[serde(rename_all = "camelCase")]
    Happened {
        /// What: `jira:issue_created`.
        webhook_event: String,
        /// When, in milliseconds since 1970.
        timestamp: Option<i64>,
        /// Who.
        user: Option<Object>,
        /// The issue.
        issue: Option<Object>,
        /// The comment.
        comment: Option<Object>,
        /// What changed: `items`.
        changelog: Option<Object>,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what Jira signs events with: the webhook's secret");
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Jira tells of an issue or a comment.",
        |hook, body| {
            let own = hook.header("x-atlassian-webhook-identifier").map(str::to_owned);
            vec![Told {
                id: own.unwrap_or_else(|| format!("{}-{}", at(body, "/issue/id"), at(body, "/timestamp"))),
                kind: at(body, "/webhookEvent"),
                at: millis(body, "/timestamp"),
                data: body.clone(),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "x-hub-signature",
        prefix: "sha256=",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_documents_and_documents_stay() {
        let made = document("One\n\nTwo".into());
        assert_eq!(made["content"][0]["content"][0]["text"], "One");
        assert_eq!(made["content"][1]["content"], json!([]));
        assert_eq!(made["content"][2]["content"][0]["text"], "Two");
        assert_eq!(document(made.clone()), made);
    }
}
