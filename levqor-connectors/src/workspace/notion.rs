//! Notion: pages, blocks, data sources. <https://developers.notion.com/reference>

use serde_json::json;

use levqor_core::types::Millis;

use crate::api::hook::{Hash, Hooks, Part, Poll, Scheme, Text, Told, asked, at, heard, newer, poll, since};
use crate::api::{Api, Auth, Class, Faults, Next, Object, Pages, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.notion.com/reference",
    base: "https://api.notion.com",
    auth: &[Auth::Bearer("an integration's secret, `ntn_…`, or an OAuth access token")],
    headers: &[("notion-version", "2025-09-03")],
    budgets: &[(3, Millis::secs(1))],
    key_header: "",
    faults: Faults {
        codes: &["/code"],
        rules: &[
            ("unauthorized", Class::Unauthorized),
            ("restricted_resource", Class::Permission),
            ("object_not_found", Class::NotFound),
            ("rate_limited", Class::RateLimited),
            ("conflict_error", Class::Conflict),
            ("validation_error", Class::Invalid),
            ("missing_version", Class::Invalid),
            ("internal_server_error", Class::Unavailable),
            ("service_unavailable", Class::Unavailable),
            ("database_connection_unavailable", Class::Unavailable),
            ("gateway_timeout", Class::Timeout),
        ],
        ..Faults::HTTP
    },
    ..Vendor::new("notion", "Notion", "Pages and databases of a Notion workspace.")
};

input! {
    CreatePage {
        /// `page_id`, or `data_source_id`.
        parent: Object,
        /// Properties by name; of a page below a page only `title`.
        properties: Object,
        /// What is on it: blocks, at most 100.
        #[schemars(length(max = 100))]
        children: Option<Vec<Object>>,
        /// An `emoji` or a file.
        icon: Option<Object>,
        /// A picture.
        cover: Option<Object>,
    }

    /// What is not given stays.
    UpdatePage {
        /// The page's id.
        page_id: String,
        /// Properties by name.
        properties: Option<Object>,
        /// Puts it into the trash, or takes it out.
        in_trash: Option<bool>,
        /// An `emoji` or a file.
        icon: Option<Object>,
        /// A picture.
        cover: Option<Object>,
    }

    GetPage {
        /// The page's id.
        page_id: String,
        /// Ids of the properties that are wanted; all if not given.
        filter_properties: Option<Vec<String>>,
    }

    QueryDataSource {
        /// The data source's id.
        data_source_id: String,
        /// A condition, or `and` and `or` of several.
        filter: Option<Object>,
        /// How they are sorted: `property` or `timestamp`, with `direction`.
        sorts: Option<Vec<Object>>,
        /// Pages a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        page_size: Option<u32>,
        /// The `next` of an earlier answer.
        start_cursor: Option<String>,
        /// Ids of the properties that are wanted; all if not given.
        filter_properties: Option<Vec<String>>,
    }

    AppendBlocks {
        /// The id of the block or page that gets them.
        block_id: String,
        /// Blocks, at most 100.
        #[schemars(length(min = 1, max = 100))]
        children: Vec<Object>,
        /// The id of the block that they come behind; the end if not given.
        after: Option<String>,
    }

    ListBlocks {
        /// The block's or page's id.
        block_id: String,
        /// Blocks a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        page_size: Option<u32>,
        /// The `next` of an earlier answer.
        start_cursor: Option<String>,
    }

    Search {
        /// Words of the title; everything if not given.
        query: Option<String>,
        /// `property`: `object`, `value`: `page` or `data_source`.
        filter: Option<Object>,
        /// `timestamp`: `last_edited_time`, and `direction`.
        sort: Option<Object>,
        /// Results a page, at most 100.
        #[schemars(range(min = 1, max = 100))]
        page_size: Option<u32>,
        /// The `next` of an earlier answer.
        start_cursor: Option<String>,
    }
}

output! {
    Page {
        /// The page's id.
        id: String,
        /// Where people see it.
        url: Option<String>,
        /// What it lies in.
        parent: Option<Object>,
        /// Its properties by name.
        properties: Option<Object>,
        /// When it was made.
        created_time: Option<String>,
        /// When it was changed.
        last_edited_time: Option<String>,
        /// It lies in the trash.
        in_trash: Option<bool>,
        /// Its icon.
        icon: Option<Object>,
    }

    Results {
        /// What was found.
        results: Vec<Object>,
        /// The cursor of the next page; null at the end.
        next: Option<String>,
    }

    Blocks {
        /// The new blocks.
        results: Vec<Object>,
    }
}

const LIST: Pages = Pages {
    items: "/results",
    next: Next::Cursor("/next_cursor", "start_cursor"),
};

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreatePage, Page>(
                "create_page",
                "Make a page",
                "Makes a page below another, or in a data source.",
            )
            .post("v1/pages"),
            call::<UpdatePage, Page>(
                "update_page",
                "Change a page",
                "Changes a page's properties, or puts it into the trash.",
            )
            .patch("v1/pages/{page_id}"),
            call::<GetPage, Page>("get_page", "Get a page", "Gets a page's properties.").get("v1/pages/{page_id}"),
            call::<QueryDataSource, Results>(
                "query_data_source",
                "Query a data source",
                "Finds the pages of a data source.",
            )
            .post("v1/data_sources/{data_source_id}/query")
            .query(&["filter_properties"])
            .reads()
            .pages(LIST),
            call::<AppendBlocks, Blocks>("append_blocks", "Add blocks", "Adds blocks to a page or block.")
                .patch("v1/blocks/{block_id}/children")
                .once(),
            call::<ListBlocks, Results>("list_blocks", "Read blocks", "Reads the blocks of a page or block.")
                .get("v1/blocks/{block_id}/children")
                .pages(LIST),
            call::<Search, Results>("search", "Search", "Finds pages and data sources by their titles.")
                .post("v1/search")
                .reads()
                .pages(LIST),
        ],
    )
    .hears(hooks())
    .polls(polls())
}

output! {
    /// Something that happened in a workspace.
    Happened {
        /// The event's id.
        id: String,
        /// What: `page.created`, `comment.created`, ...
        #[serde(rename = "type")]
        kind: String,
        /// When.
        timestamp: Option<String>,
        /// `id` and `type` of what it happened to.
        entity: Option<Object>,
        /// Who.
        authors: Option<Vec<Object>>,
        /// What of it.
        data: Option<Object>,
    }

    /// A page that was made or changed.
    ChangedPage {
        /// The page's id.
        id: String,
        /// When it was changed.
        last_edited_time: String,
        /// When it was made.
        created_time: Option<String>,
        /// Where people see it.
        url: Option<String>,
        /// Its properties by name.
        properties: Option<Object>,
    }
}

input! {
    WatchPages {
        /// The data source's id.
        data_source_id: String,
    }
}

fn hooks() -> Hooks {
    let secret = (
        "verification_token",
        "what Notion signs events with: the subscription's verification token",
    );
    let event = heard::<Happened>(
        "event",
        "Something happened",
        "Notion tells of a page, a data source, a comment.",
        |_, body| {
            // The token itself comes first, before anything is signed, and is no event.
            if body.get("verification_token").is_some() {
                return vec![];
            }
            vec![Told {
                id: at(body, "/id"),
                kind: at(body, "/type"),
                at: None,
                data: body.clone(),
            }]
        },
    );
    let scheme = Scheme::Hmac {
        hash: Hash::Sha256,
        text: Text::Hex,
        header: "x-notion-signature",
        prefix: "sha256=",
        signed: &[Part::Body],
        time: None,
    };
    Hooks::new(secret, scheme, vec![event])
}

fn polls() -> Vec<Poll> {
    vec![poll::<WatchPages, ChangedPage>(
        "changed_pages",
        "A page changed",
        "Pages of a data source that were made or changed.",
        "query_data_source",
        |input, cursor| {
            let filter =
                since(cursor).map(|at| json!({"timestamp": "last_edited_time", "last_edited_time": {"on_or_after": at}}));
            let direction = if filter.is_some() { "ascending" } else { "descending" };
            asked(
                input,
                json!({
                    "filter": filter, "sorts": [{"timestamp": "last_edited_time", "direction": direction}],
                    "page_size": 100, "max_pages": if direction == "ascending" { 10 } else { 1 },
                }),
            )
        },
        |cursor, output| newer(cursor, output, "/results", "/id", "/last_edited_time"),
    )]
}
