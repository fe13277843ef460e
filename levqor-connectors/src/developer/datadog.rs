//! Datadog: events, metrics, logs, monitors. <https://docs.datadoghq.com/api/latest/>

use serde_json::{Value, json};

use crate::api::{Api, Auth, Class, Faults, Object, Style, Vendor, Wait, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://docs.datadoghq.com/api/latest/",
    base: "https://api.{@site=datadoghq.com}",
    auth: &[Auth::Header(&[
        (("api_key", "an API key"), "dd-api-key", ""),
        (
            ("app_key", "an application key, for everything that reads or makes monitors"),
            "dd-application-key",
            "",
        ),
    ])],
    settings: &[
        (
            "site",
            "where the account is: `datadoghq.eu`, `us5.datadoghq.com`; `datadoghq.com` if not given",
        ),
        ("logs_base_url", "another address of the intake of logs"),
    ],
    headers: &[("accept", "application/json")],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/errors/0"],
        rules: &[("Forbidden", Class::Permission), ("Unauthorized", Class::Unauthorized)],
        waits: &[Wait::In("x-ratelimit-reset")],
        ..Faults::HTTP
    },
    ..Vendor::new("datadog", "Datadog", "Events, metrics, logs and monitors at Datadog.")
};

input! {
    SendEvent {
        /// Its title.
        #[schemars(length(min = 1, max = 500))]
        title: String,
        /// What is to be said; Markdown between `%%%`.
        #[schemars(length(max = 4000))]
        text: String,
        /// `error`, `warning`, `info`, `success`, `user_update`, `recommendation` or `snapshot`.
        alert_type: Option<String>,
        /// `normal` or `low`.
        priority: Option<String>,
        /// Tags like `env:prod`.
        tags: Option<Vec<String>>,
        /// The host.
        host: Option<String>,
        /// Events with the same key are shown as one.
        #[schemars(length(max = 100))]
        aggregation_key: Option<String>,
        /// When, in seconds since 1970, within the last 18 hours; now if not given.
        date_happened: Option<i64>,
        /// What it comes from: one of Datadog's list.
        source_type_name: Option<String>,
    }

    ListEvents {
        /// From, in seconds since 1970.
        start: i64,
        /// Until.
        end: i64,
        /// `normal` or `low`.
        priority: Option<String>,
        /// Sources, separated by commas.
        sources: Option<String>,
        /// Tags, separated by commas.
        tags: Option<String>,
        /// Which page, of a thousand events each, with `unaggregated`.
        #[schemars(range(max = 2_147_483_647))]
        page: Option<u32>,
        /// Each by itself.
        unaggregated: Option<bool>,
    }

    /// Repeated points of the same moment count once, but for counts.
    SubmitMetrics {
        /// Each with `metric`, `points` (`timestamp` in seconds and `value`), and `type` (0 is as the metric is known,
        /// 1 a count, 2 a rate, 3 a gauge), `tags`, `unit`, `resources`.
        #[schemars(length(min = 1))]
        series: Vec<Object>,
    }

    QueryMetrics {
        /// From, in seconds since 1970.
        from: i64,
        /// Until.
        to: i64,
        /// `avg:system.cpu.idle{*}by{host}`.
        query: String,
    }

    SendLogs {
        /// Each with `message`, and `ddsource`, `ddtags`, `hostname`, `service`, `status`.
        #[schemars(length(min = 1, max = 1000))]
        logs: Vec<Object>,
    }

    ListMonitors {
        /// Words of the name.
        name: Option<String>,
        /// Tags of what is watched, separated by commas.
        tags: Option<String>,
        /// Tags of the monitors, separated by commas.
        monitor_tags: Option<String>,
        /// Of `all`, `alert`, `warn`, `no data`, separated by commas: tells these groups too.
        group_states: Option<String>,
        /// Monitors a page, at most 1000.
        #[schemars(range(min = 1, max = 1000))]
        page_size: Option<u32>,
        /// Which page, the first is 0.
        page: Option<u32>,
    }

    CreateMonitor {
        /// `metric alert`, `query alert`, `log alert`, `service check`, `event-v2 alert`, `composite`, ...
        #[serde(rename = "type")]
        kind: String,
        /// The condition.
        query: String,
        /// Its name.
        name: Option<String>,
        /// What is said, with `@` before those who are told.
        message: Option<String>,
        /// Tags.
        tags: Option<Vec<String>>,
        /// 1 is the most important, 5 the least.
        #[schemars(range(min = 1, max = 5))]
        priority: Option<u8>,
        /// `thresholds`, `notify_no_data`, ...
        options: Option<Object>,
    }
}

output! {
    Event {
        /// Its id.
        id: Option<i64>,
        /// Its title.
        title: Option<String>,
        /// Its text.
        text: Option<String>,
        /// When, in seconds since 1970.
        date_happened: Option<i64>,
        /// What kind.
        alert_type: Option<String>,
        /// The host.
        host: Option<String>,
        /// Tags.
        tags: Option<Vec<String>>,
        /// Where people see it.
        url: Option<String>,
    }

    Events {
        /// The events.
        events: Vec<Event>,
    }

    Accepted {
        /// What was wrong with single points.
        #[serde(default)]
        errors: Vec<String>,
    }

    Series {
        /// Each with `metric`, `scope`, `pointlist`, ...
        series: Vec<Object>,
        /// `ok`.
        status: Option<String>,
        /// What was wrong.
        error: Option<String>,
    }

    Taken {
        /// The status of the answer: 202.
        status: u16,
    }

    Monitor {
        /// Its id.
        id: i64,
        /// Its name.
        name: Option<String>,
        /// What kind.
        #[serde(rename = "type")]
        kind: Option<String>,
        /// The condition.
        query: Option<String>,
        /// What is said.
        message: Option<String>,
        /// `OK`, `Alert`, `Warn`, `No Data`, ...
        overall_state: Option<String>,
        /// Tags.
        #[serde(default)]
        tags: Vec<String>,
        /// When it was changed.
        modified: Option<String>,
    }

    Monitors {
        /// The monitors.
        items: Vec<Monitor>,
    }
}

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<SendEvent, Event>("send_event", "Send an event", "Puts an event into the stream of events.")
                .post("api/v1/events")
                .at("/event"),
            call::<ListEvents, Events>("list_events", "List events", "Lists the events within a time.")
                .get("api/v1/events")
                .scopes(&["events_read"]),
            call::<SubmitMetrics, Accepted>("submit_metrics", "Send metrics", "Sends points of metrics.").post("api/v2/series"),
            call::<QueryMetrics, Series>(
                "query_metrics",
                "Ask for metrics",
                "Gives the points of metrics within a time.",
            )
            .get("api/v1/query")
            .scopes(&["timeseries_query"]),
            call::<SendLogs, Taken>("send_logs", "Send logs", "Sends lines of logs.")
                .post("api/v2/logs")
                .host("logs_base_url", "https://http-intake.logs.{@site=datadoghq.com}")
                .shape(|ask, fields, _| ask.json(&fields.remove("logs").unwrap_or_default()))
                .status(&[]),
            call::<ListMonitors, Monitors>("list_monitors", "List monitors", "Lists the monitors and how they stand.")
                .get("api/v1/monitor")
                .decode(|body| match serde_json::from_slice(body) {
                    Ok(items @ Value::Array(_)) => json!({"items": items}),
                    _ => Value::Null,
                })
                .scopes(&["monitors_read"]),
            call::<CreateMonitor, Monitor>("create_monitor", "Make a monitor", "Makes a monitor.")
                .post("api/v1/monitor")
                .scopes(&["monitors_write"]),
        ],
    )
}
