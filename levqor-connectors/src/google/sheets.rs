//! Google Sheets. <https://developers.google.com/workspace/sheets/api/reference/rest>

use levqor_core::types::Millis;
use serde_json::{Value, json};

use super::{FAULTS, grant};
use crate::api::hook::{Poll, Told, asked, poll};
use crate::api::{Api, Auth, Object, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.google.com/workspace/sheets/api/reference/rest",
    base: "https://sheets.googleapis.com",
    auth: &[Auth::Renewed(&grant("https://www.googleapis.com/auth/spreadsheets"))],
    budgets: &[(60, Millis::mins(1))],
    key_header: "",
    faults: FAULTS,
    ..Vendor::new("google_sheets", "Google Sheets", "Rows and cells of spreadsheets at Google.")
};

input! {
    #[serde(rename_all = "camelCase")]
    AppendValues {
        /// The spreadsheet's id, from its address.
        spreadsheet_id: String,
        /// The table that rows are added to: `Sheet1` or `Sheet1!A1:D1`.
        range: String,
        /// Rows of cells.
        #[schemars(length(min = 1))]
        values: Vec<Vec<Value>>,
        /// `USER_ENTERED` reads texts like a person's typing; `RAW` takes them as they are. `RAW` if not given.
        value_input_option: Option<String>,
        /// `INSERT_ROWS` makes room; `OVERWRITE` writes over what lies below.
        insert_data_option: Option<String>,
        /// Gives the new cells back.
        include_values_in_response: Option<bool>,
    }

    #[serde(rename_all = "camelCase")]
    GetValues {
        /// The spreadsheet's id, from its address.
        spreadsheet_id: String,
        /// What is read: `Sheet1!A1:D5`.
        range: String,
        /// `ROWS` or `COLUMNS`.
        major_dimension: Option<String>,
        /// `FORMATTED_VALUE`, `UNFORMATTED_VALUE` or `FORMULA`.
        value_render_option: Option<String>,
        /// `SERIAL_NUMBER` or `FORMATTED_STRING`.
        date_time_render_option: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    UpdateValues {
        /// The spreadsheet's id, from its address.
        spreadsheet_id: String,
        /// Where the first cell is written: `Sheet1!A1`.
        range: String,
        /// Rows of cells; null leaves a cell as it is.
        #[schemars(length(min = 1))]
        values: Vec<Vec<Value>>,
        /// `USER_ENTERED` reads texts like a person's typing; `RAW` takes them as they are. `RAW` if not given.
        value_input_option: Option<String>,
        /// Gives the new cells back.
        include_values_in_response: Option<bool>,
    }

    #[serde(rename_all = "camelCase")]
    ClearValues {
        /// The spreadsheet's id, from its address.
        spreadsheet_id: String,
        /// What is emptied: `Sheet1!A1:D5`.
        range: String,
    }

    #[serde(rename_all = "camelCase")]
    BatchUpdate {
        /// The spreadsheet's id, from its address.
        spreadsheet_id: String,
        /// Changes, each an object with one kind of request: `addSheet`, `repeatCell`, ...
        #[schemars(length(min = 1))]
        requests: Vec<Object>,
        /// Gives the whole spreadsheet back.
        include_spreadsheet_in_response: Option<bool>,
    }

    Create {
        /// `title`, `locale`, `timeZone`, ...
        properties: Object,
        /// Its sheets.
        sheets: Option<Vec<Object>>,
    }
}

output! {
    #[serde(rename_all = "camelCase")]
    Updates {
        /// The cells that were written.
        updated_range: Option<String>,
        /// How many rows.
        updated_rows: Option<u64>,
        /// How many columns.
        updated_columns: Option<u64>,
        /// How many cells.
        updated_cells: Option<u64>,
        /// The new cells, if they were asked for.
        updated_data: Option<Object>,
    }

    #[serde(rename_all = "camelCase")]
    Appended {
        /// The spreadsheet's id.
        spreadsheet_id: Option<String>,
        /// The table that was found.
        table_range: Option<String>,
        /// What was written.
        updates: Option<Updates>,
    }

    #[serde(rename_all = "camelCase")]
    Updated {
        /// The spreadsheet's id.
        spreadsheet_id: Option<String>,
        /// The cells that were written.
        updated_range: Option<String>,
        /// How many rows.
        updated_rows: Option<u64>,
        /// How many columns.
        updated_columns: Option<u64>,
        /// How many cells.
        updated_cells: Option<u64>,
        /// The new cells, if they were asked for.
        updated_data: Option<Object>,
    }

    #[serde(rename_all = "camelCase")]
    Values {
        /// What was read.
        range: Option<String>,
        /// `ROWS` or `COLUMNS`.
        major_dimension: Option<String>,
        /// Rows of cells; empty cells at the end are left out.
        #[serde(default)]
        values: Vec<Vec<Value>>,
    }

    #[serde(rename_all = "camelCase")]
    Cleared {
        /// The spreadsheet's id.
        spreadsheet_id: Option<String>,
        /// What was emptied.
        cleared_range: Option<String>,
    }

    #[serde(rename_all = "camelCase")]
    BatchUpdated {
        /// The spreadsheet's id.
        spreadsheet_id: Option<String>,
        /// What came of each change.
        #[serde(default)]
        replies: Vec<Object>,
    }

    #[serde(rename_all = "camelCase")]
    Created {
        /// The spreadsheet's id.
        spreadsheet_id: String,
        /// Where people see it.
        spreadsheet_url: Option<String>,
        /// Its title and the like.
        properties: Option<Object>,
        /// Its sheets.
        #[serde(default)]
        sheets: Vec<Object>,
    }
}

const SCOPE: &[&str] = &["https://www.googleapis.com/auth/spreadsheets"];

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<AppendValues, Appended>("append_values", "Add rows", "Adds rows below a table.")
                .post("v4/spreadsheets/{spreadsheetId}/values/{range}:append")
                .query(&["valueInputOption", "insertDataOption", "includeValuesInResponse"])
                .shape(|ask, _, _| {
                    raw(ask);
                    Ok(())
                })
                .scopes(SCOPE),
            call::<GetValues, Values>("get_values", "Read cells", "Reads the cells of a range.")
                .get("v4/spreadsheets/{spreadsheetId}/values/{range}")
                .scopes(&["https://www.googleapis.com/auth/spreadsheets.readonly"]),
            call::<UpdateValues, Updated>("update_values", "Write cells", "Writes the cells of a range.")
                .put("v4/spreadsheets/{spreadsheetId}/values/{range}")
                .query(&["valueInputOption", "includeValuesInResponse"])
                .shape(|ask, _, _| {
                    raw(ask);
                    Ok(())
                })
                .scopes(SCOPE),
            call::<ClearValues, Cleared>(
                "clear_values",
                "Empty cells",
                "Empties the cells of a range; their format stays.",
            )
            .post("v4/spreadsheets/{spreadsheetId}/values/{range}:clear")
            .natural()
            .destructive()
            .scopes(SCOPE),
            call::<BatchUpdate, BatchUpdated>(
                "batch_update",
                "Change a spreadsheet",
                "Makes several changes to a spreadsheet, all or none: sheets, formats, filters, sorting, cells.",
            )
            .post("v4/spreadsheets/{spreadsheetId}:batchUpdate")
            .scopes(SCOPE),
            call::<Create, Created>("create_spreadsheet", "Make a spreadsheet", "Makes a new spreadsheet.")
                .post("v4/spreadsheets")
                .scopes(SCOPE),
        ],
    )
    .polls(polls())
}

input! {
    #[serde(rename_all = "camelCase")]
    WatchRows {
        /// The spreadsheet's id, from its address.
        spreadsheet_id: String,
        /// The columns that are watched, from their first row: `Sheet1!A:D`.
        range: String,
    }
}

output! {
    /// A row that was added.
    NewRow {
        /// Its number within the range, from 1.
        row: u64,
        /// Its cells.
        values: Vec<Value>,
    }
}

fn polls() -> Vec<Poll> {
    vec![poll::<WatchRows, NewRow>(
        "new_rows",
        "A row was added",
        "Rows that were added below the others. Rows that are put in between are not seen.",
        "get_values",
        |input, _| asked(input, json!({"majorDimension": "ROWS"})),
        |cursor, output| {
            let rows: Vec<Value> = output["values"].as_array().cloned().unwrap_or_default();
            let before = cursor.and_then(|c| c["rows"].as_u64()).unwrap_or(rows.len() as u64);
            let next = json!({"rows": rows.len()});
            let fresh = rows.into_iter().zip(1_u64..).filter(|(_, n)| *n > before);
            let told = fresh.map(|(values, n)| Told {
                // A row that is deleted and written anew is another one.
                id: format!("{n}-{}", &sum(&values)[..16]),
                kind: "added".into(),
                at: None,
                data: json!({"row": n, "values": values}),
            });
            (told.collect(), next)
        },
    )]
}

fn sum(values: &Value) -> String {
    let print = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, values.to_string().as_bytes());
    crate::api::content::hex(print.as_ref())
}

/// Google wants to be told how texts are read; as they are, unless somebody says otherwise.
fn raw(ask: &mut crate::api::Ask) {
    if !ask.query.iter().any(|(n, _)| n == "valueInputOption") {
        ask.query.insert(0, ("valueInputOption".into(), "RAW".into()));
    }
}
