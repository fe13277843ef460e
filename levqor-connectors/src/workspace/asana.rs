//! Asana: tasks, comments, projects. <https://developers.asana.com/reference/rest-api-reference>

use levqor_core::error::Result;
use levqor_core::types::Millis;

use crate::api::content::take_list;
use crate::api::oauth::Grant;
use crate::api::{Api, Ask, Auth, Class, Faults, Next, Object, Pages, Session, Style, Vendor, call, input, output};

static VENDOR: Vendor = Vendor {
    docs: "https://developers.asana.com/reference/rest-api-reference",
    base: "https://app.asana.com",
    auth: &[Auth::Renewed(&Grant::code("https://app.asana.com/-/oauth_token"))],
    budgets: &[(150, Millis::mins(1))],
    key_header: "",
    style: Style::PLAIN,
    faults: Faults {
        codes: &["/errors/0/message"],
        rules: &[("The bearer token has expired.", Class::Expired)],
        ..Faults::HTTP
    },
    ..Vendor::new("asana", "Asana", "Tasks and projects at Asana.")
};

input! {
    /// A task: in `projects`, below `parent`, or by itself in a `workspace`.
    CreateTask {
        /// Its name.
        name: String,
        /// What is to be said, as text.
        notes: Option<String>,
        /// What is to be said, as HTML.
        html_notes: Option<String>,
        /// The projects.
        projects: Option<Vec<String>>,
        /// The workspace.
        workspace: Option<String>,
        /// The task that it is a part of.
        parent: Option<String>,
        /// Who does it: an id, a mail address, or `me`.
        assignee: Option<String>,
        /// Who hears of it.
        followers: Option<Vec<String>>,
        /// Tags.
        tags: Option<Vec<String>>,
        /// The day that it is due: `2026-03-01`.
        due_on: Option<String>,
        /// The moment that it is due.
        due_at: Option<String>,
        /// The day that it begins.
        start_on: Option<String>,
        /// Whether it is done.
        completed: Option<bool>,
        /// Values of fields of your own, by id.
        custom_fields: Option<Object>,
        /// `default_task`, `milestone` or `approval`.
        resource_subtype: Option<String>,
    }

    /// What is not given stays.
    UpdateTask {
        /// The task's id.
        task_gid: String,
        /// Its name.
        name: Option<String>,
        /// What is to be said, as text.
        notes: Option<String>,
        /// What is to be said, as HTML.
        html_notes: Option<String>,
        /// Who does it.
        assignee: Option<String>,
        /// The day that it is due.
        due_on: Option<String>,
        /// The moment that it is due.
        due_at: Option<String>,
        /// The day that it begins.
        start_on: Option<String>,
        /// Whether it is done.
        completed: Option<bool>,
        /// Values of fields of your own, by id.
        custom_fields: Option<Object>,
    }

    GetTask {
        /// The task's id.
        task_gid: String,
        /// Fields that are wanted: `name`, `assignee.name`, ...; the usual ones if not given.
        opt_fields: Option<Vec<String>>,
    }

    /// Tasks of a `project` or `section`, or of an `assignee` in a `workspace`.
    ListTasks {
        /// The project.
        project: Option<String>,
        /// The section.
        section: Option<String>,
        /// Who does them: an id, a mail address, or `me`.
        assignee: Option<String>,
        /// The workspace.
        workspace: Option<String>,
        /// Leaves out what was done before: a moment, or `now`.
        completed_since: Option<String>,
        /// Only what was changed since.
        modified_since: Option<String>,
        /// Fields that are wanted.
        opt_fields: Option<Vec<String>>,
        /// Tasks a page, at most 100; 50 if not given.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        offset: Option<String>,
    }

    /// A comment: `text` or `html_text`.
    AddComment {
        /// The task's id.
        task_gid: String,
        /// The comment, as text.
        text: Option<String>,
        /// The comment, as HTML.
        html_text: Option<String>,
        /// Stays on top.
        is_pinned: Option<bool>,
    }

    AddProject {
        /// The task's id.
        task_gid: String,
        /// The project.
        project: String,
        /// A section of it.
        section: Option<String>,
        /// The task that it comes behind.
        insert_after: Option<String>,
        /// The task that it comes before.
        insert_before: Option<String>,
    }

    ListProjects {
        /// The workspace.
        workspace: Option<String>,
        /// The team.
        team: Option<String>,
        /// Only those that are archived, or only those that are not.
        archived: Option<bool>,
        /// Fields that are wanted.
        opt_fields: Option<Vec<String>>,
        /// Projects a page, at most 100; 50 if not given.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
        /// The `next` of an earlier answer.
        offset: Option<String>,
    }
}

output! {
    Task {
        /// Its id.
        gid: String,
        /// Its name.
        name: Option<String>,
        /// What is said.
        notes: Option<String>,
        /// Whether it is done.
        completed: Option<bool>,
        /// When it was done.
        completed_at: Option<String>,
        /// Who does it.
        assignee: Option<Object>,
        /// The day that it is due.
        due_on: Option<String>,
        /// The moment that it is due.
        due_at: Option<String>,
        /// Its projects.
        projects: Option<Vec<Object>>,
        /// When it was made.
        created_at: Option<String>,
        /// When it was changed.
        modified_at: Option<String>,
        /// Where people see it.
        permalink_url: Option<String>,
        /// Fields of your own.
        custom_fields: Option<Vec<Object>>,
    }

    Tasks {
        /// The tasks.
        data: Vec<Task>,
        /// The token of the next page; null at the end.
        next: Option<String>,
    }

    Story {
        /// Its id.
        gid: String,
        /// The comment.
        text: Option<String>,
        /// When.
        created_at: Option<String>,
        /// Who wrote it.
        created_by: Option<Object>,
    }

    Nothing {}

    Project {
        /// Its id.
        gid: String,
        /// Its name.
        name: Option<String>,
        /// Whether it is archived.
        archived: Option<bool>,
        /// Where people see it.
        permalink_url: Option<String>,
    }

    Projects {
        /// The projects.
        data: Vec<Project>,
        /// The token of the next page; null at the end.
        next: Option<String>,
    }
}

fn wanted(ask: &mut Ask, fields: &mut Object, _: &Session<'_>) -> Result<()> {
    if let Some(list) = take_list(fields, "opt_fields") {
        ask.query.push(("opt_fields".into(), list));
    }
    Ok(())
}

const LIST: Pages = Pages {
    items: "/data",
    next: Next::Cursor("/next_page/offset", "offset"),
};

/// The connector.
pub(crate) fn connector() -> Api {
    Api::new(
        &VENDOR,
        vec![
            call::<CreateTask, Task>("create_task", "Make a task", "Makes a task.")
                .post("api/1.0/tasks")
                .within("data")
                .at("/data")
                .scopes(&["tasks:write"]),
            call::<UpdateTask, Task>("update_task", "Change a task", "Changes a task.")
                .put("api/1.0/tasks/{task_gid}")
                .within("data")
                .at("/data")
                .scopes(&["tasks:write"]),
            call::<GetTask, Task>("get_task", "Get a task", "Gets a task.")
                .get("api/1.0/tasks/{task_gid}")
                .shape(wanted)
                .at("/data")
                .scopes(&["tasks:read"]),
            call::<ListTasks, Tasks>("list_tasks", "List tasks", "Lists tasks of a project, a section or a person.")
                .get("api/1.0/tasks")
                .shape(wanted)
                .pages(LIST)
                .scopes(&["tasks:read"]),
            call::<AddComment, Story>("add_comment", "Comment on a task", "Adds a comment to a task.")
                .post("api/1.0/tasks/{task_gid}/stories")
                .within("data")
                .at("/data")
                .scopes(&["stories:write"]),
            call::<AddProject, Nothing>(
                "add_to_project",
                "Put a task into a project",
                "Puts a task into a project or section.",
            )
            .post("api/1.0/tasks/{task_gid}/addProject")
            .natural()
            .within("data")
            .at("/data")
            .scopes(&["tasks:write"]),
            call::<ListProjects, Projects>("list_projects", "List projects", "Lists the projects of a workspace or team.")
                .get("api/1.0/projects")
                .shape(wanted)
                .pages(LIST)
                .scopes(&["projects:read"]),
        ],
    )
}
