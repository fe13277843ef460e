//! Linear: issues, comments, teams, by GraphQL. <https://linear.app/developers/graphql>

use levqor_core::error::{Error, ErrorKind, Result};
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::content::uuid;
use crate::api::hook::{Hash, Hooks, Part, Place, Scheme, Text, Time, Told, at, heard, millis};
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Style, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://linear.app/developers/graphql",
    base: "https://api.linear.app",
    auth: &[
        Auth::Header(&[(("api_key", "a personal API key, `lin_api_…`"), "authorization", "")]),
        Auth::Renewed(&Grant::code("https://api.linear.app/oauth/token")),
    ],
    budgets: &[(1_500, Millis::hours(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/errors/0/extensions/code", "/errors/0/extensions/type"],
        rules: &[
            ("AUTHENTICATION_ERROR", Class::Unauthorized),
            ("authentication error", Class::Unauthorized),
            ("FORBIDDEN", Class::Permission),
            ("forbidden", Class::Permission),
            ("feature not accessible", Class::Permission),
            ("RATELIMITED", Class::RateLimited),
            ("ratelimited", Class::RateLimited),
            ("ENTITY_NOT_FOUND", Class::NotFound),
            ("INVALID_INPUT", Class::Invalid),
            ("invalid input", Class::Invalid),
            ("INPUT_ERROR", Class::Invalid),
            ("GRAPHQL_VALIDATION_FAILED", Class::Invalid),
            ("INTERNAL_SERVER_ERROR", Class::Unavailable),
            ("internal error", Class::Unavailable),
            ("lock timeout", Class::Unavailable),
        ],
        waits: &[Wait::AtMillis("x-ratelimit-requests-reset")],
        failed: &["/errors"],
        ok: "/data/result/success",
        ..Faults::HTTP
    },
    ..Vendor::new("linear", "Linear", "Issues and teams at Linear.")
};

input! {
    #[serde(rename_all = "camelCase")]
    CreateIssue {
        /// The team's id.
        team_id: String,
        /// Its title.
        title: String,
        /// What is to be said, in Markdown.
        description: Option<String>,
        /// Who does it.
        assignee_id: Option<String>,
        /// 0 is none, 1 urgent, 2 high, 3 normal, 4 low.
        #[schemars(range(max = 4))]
        priority: Option<u8>,
        /// The state's id.
        state_id: Option<String>,
        /// Ids of labels.
        label_ids: Option<Vec<String>>,
        /// The project's id.
        project_id: Option<String>,
        /// The id of the issue that it is a part of.
        parent_id: Option<String>,
        /// The cycle's id.
        cycle_id: Option<String>,
        /// How much work it is.
        estimate: Option<u32>,
        /// The day that it is due: `2026-03-01`.
        due_date: Option<String>,
    }

    /// What is not given stays.
    #[serde(rename_all = "camelCase")]
    UpdateIssue {
        /// The issue's id, or `ENG-7`.
        id: String,
        /// Its title.
        title: Option<String>,
        /// What is to be said, in Markdown.
        description: Option<String>,
        /// Who does it.
        assignee_id: Option<String>,
        /// 0 is none, 1 urgent, 2 high, 3 normal, 4 low.
        #[schemars(range(max = 4))]
        priority: Option<u8>,
        /// The state's id.
        state_id: Option<String>,
        /// Ids of labels that are added.
        added_label_ids: Option<Vec<String>>,
        /// Ids of labels that are taken away.
        removed_label_ids: Option<Vec<String>>,
        /// The project's id.
        project_id: Option<String>,
        /// How much work it is.
        estimate: Option<u32>,
        /// The day that it is due.
        due_date: Option<String>,
    }

    GetIssue {
        /// The issue's id, or `ENG-7`.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    ListIssues {
        /// Conditions: `{"team": {"key": {"eq": "ENG"}}}`.
        filter: Option<Object>,
        /// `createdAt` or `updatedAt`.
        order_by: Option<String>,
        /// Takes archived ones too.
        include_archived: Option<bool>,
        /// Issues a page, at most 250; 50 if not given.
        #[schemars(range(min = 1, max = 250))]
        first: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    CreateComment {
        /// The issue's id, or `ENG-7`.
        issue_id: String,
        /// The comment, in Markdown.
        body: String,
        /// The id of the comment that this one answers.
        parent_id: Option<String>,
    }

    ListTeams {
        /// Conditions.
        filter: Option<Object>,
        /// Teams a page, at most 250; 50 if not given.
        #[schemars(range(min = 1, max = 250))]
        first: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
    }

    ListStates {
        /// Conditions: `{"team": {"key": {"eq": "ENG"}}}`.
        filter: Option<Object>,
        /// States a page, at most 250; 50 if not given.
        #[schemars(range(min = 1, max = 250))]
        first: Option<u32>,
        /// The `next` of an earlier answer.
        after: Option<String>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Issue {
        /// Its id.
        id: String,
        /// What people call it: `ENG-7`.
        identifier: String,
        /// Its title.
        title: String,
        /// What is said, in Markdown.
        description: Option<String>,
        /// Where people see it.
        url: Option<String>,
        /// 0 is none, 1 urgent, 4 low.
        priority: Option<f64>,
        /// `id`, `name`, `type`.
        state: Option<Object>,
        /// `id`, `name`.
        assignee: Option<Object>,
        /// `id`, `key`.
        team: Option<Object>,
        /// When it was made.
        created_at: Option<String>,
        /// When it was changed.
        updated_at: Option<String>,
    }

    Issues {
        /// The issues.
        nodes: Vec<Issue>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    Comment {
        /// Its id.
        id: String,
        /// The comment.
        body: Option<String>,
        /// Where people see it.
        url: Option<String>,
        /// When it was made.
        created_at: Option<String>,
    }

    Team {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What its issues begin with.
        key: String,
    }

    Teams {
        /// The teams.
        nodes: Vec<Team>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }

    State {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// `backlog`, `unstarted`, `started`, `completed`, `canceled`, ...
        #[serde(rename = "type")]
        kind: String,
        /// `id`, `key`.
        team: Option<Object>,
    }

    States {
        /// The states.
        nodes: Vec<State>,
        /// What the next page is asked for with; null at the end.
        next: Option<String>,
    }
}

/// Fields of an issue.
macro_rules! issue {
    () => {
        "id identifier title description url priority state { id name type } assignee { id name } team { id key } \
         createdAt updatedAt"
    };
}

const CREATE_ISSUE: &str = concat!(
    "mutation CreateIssue($input: IssueCreateInput!) { result: issueCreate(input: $input) { success issue { ",
    issue!(),
    " } } }"
);
const UPDATE_ISSUE: &str = concat!(
    "mutation UpdateIssue($id: String!, $input: IssueUpdateInput!) { result: issueUpdate(id: $id, input: $input) { ",
    "success issue { ",
    issue!(),
    " } } }"
);
const GET_ISSUE: &str = concat!("query Issue($id: String!) { result: issue(id: $id) { ", issue!(), " } }");
const LIST_ISSUES: &str = concat!(
    "query Issues($filter: IssueFilter, $orderBy: PaginationOrderBy, $includeArchived: Boolean, $first: Int, ",
    "$after: String) { result: issues(filter: $filter, orderBy: $orderBy, includeArchived: $includeArchived, ",
    "first: $first, after: $after) { nodes { ",
    issue!(),
    " } pageInfo { hasNextPage endCursor } } }"
);
const CREATE_COMMENT: &str = "mutation CreateComment($input: CommentCreateInput!) { \
    result: commentCreate(input: $input) { success comment { id body url createdAt } } }";
const GET_COMMENT: &str = "query Comment($id: String!) { result: comment(id: $id) { id body url createdAt } }";
const LIST_TEAMS: &str = "query Teams($filter: TeamFilter, $first: Int, $after: String) { \
    result: teams(filter: $filter, first: $first, after: $after) { nodes { id name key } \
    pageInfo { hasNextPage endCursor } } }";
const LIST_STATES: &str = "query States($filter: WorkflowStateFilter, $first: Int, $after: String) { \
    result: workflowStates(filter: $filter, first: $first, after: $after) { nodes { id name type team { id key } } \
    pageInfo { hasNextPage endCursor } } }";

const PATH: &str = "graphql";
const LIST: Pages = Pages {
    items: "/nodes",
    next: Next::Flagged("/pageInfo/hasNextPage", "/pageInfo/endCursor", "after"),
};

/// What is made gets its id from us, so that it is not made twice.
fn own_id(_: &mut Ask, fields: &mut Object, session: &Session<'_>) -> Result<()> {
    fields.insert("id".into(), uuid(session.cx, "linear").into());
    Ok(())
}

fn first(_: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    fields.entry("first").or_insert_with(|| json!(50));
    Ok(())
}

/// What an earlier attempt made is refused, since its id is taken; then it is there already.
async fn create(session: &Session<'_>, fields: Object, what: &str, look: &str) -> Result<Value> {
    let taken = |e: &Error| {
        e.kind() == ErrorKind::Conflict || ["already exist", "duplicate"].iter().any(|words| e.message().contains(words))
    };
    let place = format!("/data/result/{what}");
    match session.send(session.ask(fields)?).await {
        Err(e) if taken(&e) => {
            let mut ask = Ask::new("POST", PATH);
            ask.json(&json!({"query": look, "variables": {"id": uuid(session.cx, "linear")}}))?;
            let mut there = session.send(ask).await.map_err(|_| e)?.json()?;
            Ok(there.pointer_mut("/data/result").map_or(Value::Null, Value::take))
        }
        other => Ok(other?.json()?.pointer_mut(&place).map_or(Value::Null, Value::take)),
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateIssue, Issue>("create_issue", "Open an issue", "Opens an issue of a team.")
                .graphql(PATH, CREATE_ISSUE)
                .keyed()
                .shape(own_id)
                .run(|session, fields| Box::pin(create(session, fields, "issue", GET_ISSUE)))
                .scopes(&["issues:create"]),
            call::<UpdateIssue, Issue>("update_issue", "Change an issue", "Changes an issue.")
                .graphql(PATH, UPDATE_ISSUE)
                .natural()
                .at("/data/result/issue")
                .scopes(&["write"]),
            call::<GetIssue, Issue>("get_issue", "Get an issue", "Gets an issue.")
                .graphql(PATH, GET_ISSUE)
                .reads()
                .at("/data/result")
                .scopes(&["read"]),
            call::<ListIssues, Issues>("list_issues", "List issues", "Lists issues that fulfil conditions.")
                .graphql(PATH, LIST_ISSUES)
                .reads()
                .shape(first)
                .at("/data/result")
                .pages(LIST)
                .scopes(&["read"]),
            call::<CreateComment, Comment>("create_comment", "Comment on an issue", "Adds a comment to an issue.")
                .graphql(PATH, CREATE_COMMENT)
                .keyed()
                .shape(own_id)
                .run(|session, fields| Box::pin(create(session, fields, "comment", GET_COMMENT)))
                .scopes(&["comments:create"]),
            call::<ListTeams, Teams>("list_teams", "List teams", "Lists the teams.")
                .graphql(PATH, LIST_TEAMS)
                .reads()
                .shape(first)
                .at("/data/result")
                .pages(LIST)
                .scopes(&["read"]),
            call::<ListStates, States>("list_states", "List states", "Lists the states that issues can have.")
                .graphql(PATH, LIST_STATES)
                .reads()
                .shape(first)
                .at("/data/result")
                .pages(LIST)
                .scopes(&["read"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// A change at Linear.
    #[serde(rename_all = "camelCase")]
    Changed {
        /// `create`, `update` or `remove`.
        action: String,
        /// Of what: `Issue`, `Comment`, `Project`, ...
        #[serde(rename = "type")]
        kind: String,
        /// Who.
        actor: Option<Object>,
        /// When.
        created_at: Option<String>,
        /// What it is now.
        data: Option<Object>,
        /// What it was.
        updated_from: Option<Object>,
        /// Where people see it.
        url: Option<String>,
        /// The organisation.
        organization_id: Option<String>,
    }
}

fn hooks() -> Hooks {
    let secret = (
        "webhook_secret",
        "what Linear signs events with: the webhook's signing secret",
    );
    let change = heard::<Changed>(
        "change",
        "Something changed",
        "Linear tells of an issue, a comment, a project.",
        |hook, body| {
            vec![Told {
                id: hook.header("linear-delivery").unwrap_or_default().to_owned(),
                kind: format!("{}.{}", at(body, "/type"), at(body, "/action")),
                at: millis(body, "/webhookTimestamp"),
                data: body.clone(),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "linear-signature",
        prefix: "",
        signed: &[Part::Body],
        time: Some(Time {
            place: Place::Body("/webhookTimestamp"),
            millis: true,
            tolerance: Millis::mins(1),
        }),
    };
    Hooks::new(secret, scheme, vec![change])
}
