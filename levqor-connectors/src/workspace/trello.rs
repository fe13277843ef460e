//! Trello: boards, lists, cards. <https://developer.atlassian.com/cloud/trello/rest/>

use levqor_core::error::Result;
use levqor_core::types::Millis;
use serde_json::{Value, json};

use crate::api::content::take_list;
use crate::api::hook::{self, Hash, Hooks, Part, Scheme, Text, Told, at, heard};
use crate::api::{Api, Ask, Auth, Class, Faults, Object, Session, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developer.atlassian.com/cloud/trello/rest/",
    base: "https://api.trello.com",
    auth: &[Auth::Query(&[
        (("key", "the key of a Power-Up"), "key", ""),
        (("token", "the token that a person gave it, `ATTA…`"), "token", ""),
    ])],
    budgets: &[(100, Millis::secs(10))],
    key_header: "",
    faults: Faults {
        codes: &["/error", "/code"],
        rules: &[
            ("API_TOKEN_LIMIT_EXCEEDED", Class::RateLimited),
            ("API_KEY_LIMIT_EXCEEDED", Class::RateLimited),
            ("API_TOO_MANY_CARDS_REQUESTED", Class::Invalid),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("trello", "Trello", "Boards, lists and cards at Trello.")
};

input! {
    #[serde(rename_all = "camelCase")]
    CreateCard {
        /// The list that it goes to.
        id_list: String,
        /// Its name.
        name: Option<String>,
        /// What is said on it.
        desc: Option<String>,
        /// `top`, `bottom`, or a number.
        pos: Option<Value>,
        /// When it is due.
        due: Option<String>,
        /// When it begins.
        start: Option<String>,
        /// Whether it is done.
        due_complete: Option<bool>,
        /// Whose it is.
        id_members: Option<Vec<String>>,
        /// Labels.
        id_labels: Option<Vec<String>>,
        /// The address of something that is attached.
        url_source: Option<String>,
    }

    /// What is not given stays.
    #[serde(rename_all = "camelCase")]
    UpdateCard {
        /// The card's id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// What is said on it.
        desc: Option<String>,
        /// Puts it into the archive, or takes it out.
        closed: Option<bool>,
        /// The list that it goes to.
        id_list: Option<String>,
        /// The board that it goes to.
        id_board: Option<String>,
        /// Whose it is.
        id_members: Option<Vec<String>>,
        /// Labels.
        id_labels: Option<Vec<String>>,
        /// `top`, `bottom`, or a number.
        pos: Option<Value>,
        /// When it is due.
        due: Option<String>,
        /// When it begins.
        start: Option<String>,
        /// Whether it is done.
        due_complete: Option<bool>,
    }

    GetCard {
        /// The card's id.
        id: String,
    }

    AddComment {
        /// The card's id.
        id: String,
        /// The comment.
        #[schemars(length(min = 1, max = 16384))]
        text: String,
    }

    AddChecklist {
        /// The card's id.
        id: String,
        /// The checklist's name.
        name: Option<String>,
        /// The checklist that it is a copy of.
        #[serde(rename = "idChecklistSource")]
        id_checklist_source: Option<String>,
        /// `top`, `bottom`, or a number.
        pos: Option<Value>,
    }

    ListLists {
        /// The board's id.
        id: String,
        /// `all`, `closed`, `none` or `open`.
        filter: Option<String>,
    }

    ListCards {
        /// The list's id.
        id: String,
    }

    #[serde(rename_all = "camelCase")]
    Search {
        /// Words, or conditions like `due:week list:Doing`.
        #[schemars(length(min = 1, max = 16384))]
        query: String,
        /// The boards that are searched, or `mine`.
        id_boards: Option<String>,
        /// Of `actions`, `boards`, `cards`, `members`, `organizations`.
        model_types: Option<Vec<String>>,
        /// Cards at most.
        #[serde(rename = "cards_limit")]
        #[schemars(range(min = 1, max = 1000))]
        cards_limit: Option<u32>,
        /// Which page of cards.
        #[serde(rename = "cards_page")]
        #[schemars(range(max = 100))]
        cards_page: Option<u32>,
        /// Takes the beginnings of words too.
        partial: Option<bool>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Card {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// What is said on it.
        desc: Option<String>,
        /// The list.
        id_list: Option<String>,
        /// The board.
        id_board: Option<String>,
        /// Whether it lies in the archive.
        closed: Option<bool>,
        /// When it is due.
        due: Option<String>,
        /// Whether it is done.
        due_complete: Option<bool>,
        /// Where people see it.
        url: Option<String>,
        /// When something happened to it last.
        date_last_activity: Option<String>,
        /// Labels.
        #[serde(default)]
        labels: Vec<Object>,
        /// Whose it is.
        #[serde(default)]
        id_members: Vec<String>,
    }

    Cards {
        /// The cards.
        items: Vec<Card>,
    }

    Comment {
        /// Its id.
        id: String,
        /// When.
        date: Option<String>,
        /// `text`, and where it was written.
        data: Option<Object>,
    }

    #[serde(rename_all = "camelCase")]
    Checklist {
        /// Its id.
        id: String,
        /// Its name.
        name: Option<String>,
        /// The card.
        id_card: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    List {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// Whether it lies in the archive.
        closed: Option<bool>,
        /// The board.
        id_board: Option<String>,
        /// Where it stands.
        pos: Option<f64>,
    }

    Lists {
        /// The lists.
        items: Vec<List>,
    }

    Found {
        /// The cards.
        #[serde(default)]
        cards: Vec<Card>,
        /// The boards.
        #[serde(default)]
        boards: Vec<Object>,
        /// The people.
        #[serde(default)]
        members: Vec<Object>,
    }
}

/// The longest query that goes into an address; more becomes a body, which Trello reads as well.
const LONGEST_QUERY: usize = 4_000;

/// Trello has its fields in the query, whatever the method, and lists in them with commas.
fn in_query(ask: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    for name in ["idMembers", "idLabels", "modelTypes"] {
        if let Some(list) = take_list(fields, name) {
            fields.insert(name.into(), list.into());
        }
    }
    let length: usize = fields.values().map(|v| v.as_str().map_or(8, str::len)).sum();
    if length > LONGEST_QUERY && matches!(ask.method, "POST" | "PUT") {
        return Ok(());
    }
    for (name, value) in std::mem::take(fields) {
        Style::JSON.query(ask, &name, &value);
    }
    if matches!(ask.method, "POST" | "PUT") {
        ask.body = Some(vec![]);
    }
    Ok(())
}

fn items(body: &[u8]) -> Value {
    match serde_json::from_slice(body) {
        Ok(items @ Value::Array(_)) => json!({"items": items}),
        _ => Value::Null,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateCard, Card>("create_card", "Make a card", "Makes a card on a list.")
                .post("1/cards")
                .shape(in_query)
                .scopes(&["write"]),
            call::<UpdateCard, Card>("update_card", "Change a card", "Changes a card, or moves it.")
                .put("1/cards/{id}")
                .shape(in_query)
                .scopes(&["write"]),
            call::<GetCard, Card>("get_card", "Get a card", "Gets a card.")
                .get("1/cards/{id}")
                .scopes(&["read"]),
            call::<AddComment, Comment>("add_comment", "Comment on a card", "Adds a comment to a card.")
                .post("1/cards/{id}/actions/comments")
                .shape(in_query)
                .scopes(&["write"]),
            call::<AddChecklist, Checklist>("add_checklist", "Add a checklist", "Adds a checklist to a card.")
                .post("1/cards/{id}/checklists")
                .shape(in_query)
                .scopes(&["write"]),
            call::<ListLists, Lists>("list_lists", "List lists", "Lists the lists of a board.")
                .get("1/boards/{id}/lists")
                .decode(items)
                .scopes(&["read"]),
            call::<ListCards, Cards>("list_cards", "List cards", "Lists the cards of a list.")
                .get("1/lists/{id}/cards")
                .decode(items)
                .scopes(&["read"]),
            call::<Search, Found>("search", "Search", "Finds cards, boards and people.")
                .get("1/search")
                .shape(in_query)
                .scopes(&["read"]),
        ],
    )
    .hears(hooks())
}

output! {
    /// Something that happened on a board.
    Happened {
        /// `id`, `type` (`createCard`, `commentCard`, ...), `date`, `data`, `memberCreator`.
        action: Object,
        /// What is watched.
        model: Option<Object>,
    }
}

fn hooks() -> Hooks {
    let secret = ("webhook_secret", "what Trello signs events with: the Power-Up's OAuth secret");
    let action = heard::<Happened>(
        "action",
        "Something happened",
        "Trello tells of a card, a list, a comment.",
        |_, body| {
            vec![Told {
                id: at(body, "/action/id"),
                kind: at(body, "/action/type"),
                at: None,
                data: body.clone(),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha1,
        text: Text::Base64,
        header: "x-trello-webhook",
        prefix: "",
        signed: &[Part::Body, Part::Url],
        time: None,
    };
    Hooks {
        // Trello looks with HEAD whether somebody is there.
        ask: |hook| Ok((hook.method == "HEAD").then(|| hook::plain(""))),
        ..Hooks::new(secret, scheme, vec![action])
    }
}
