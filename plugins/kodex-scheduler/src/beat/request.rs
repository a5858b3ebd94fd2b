//! What an agent is asked: the text of the task as it is, and the facts of the schedule beside it.

use std::collections::BTreeMap;

use kodex_plugin::{
    agent,
    wire::work::{Subject, bounds},
};

use crate::{
    moment,
    run::Run,
    task::{Credentials, Task},
};

/// The request for a run. It says the same however often it is made, since it has a key.
///
/// # Errors
/// The task says nothing that an agent could be asked.
pub fn request(task: &Task, run: &Run) -> Result<agent::Run, String> {
    if task.text.trim().is_empty() {
        return Err("the task has no text".to_owned());
    }
    let facts = [
        ("task", task.id.clone()),
        ("occurrence", moment::text(run.scheduled_for_ms)),
        ("schedule", task.cadence.describe()),
        ("timezone", task.cadence.zone().name().to_owned()),
    ];
    let metadata: BTreeMap<_, _> = facts
        .into_iter()
        .map(|(key, value)| (key.to_owned(), line(&value, bounds::METADATA_VALUE)))
        .collect();
    let subject = match (&task.credentials, &task.created_by) {
        (Credentials::Creator, Some(by)) => Some(Subject {
            user: by.id.clone(),
            task: Some(task.id.clone()),
        }),
        (Credentials::Creator, None) => {
            return Err("the task uses the credentials of a creator that it does not name".into());
        }
        (Credentials::System, _) => None,
    };
    let mut request = agent::Run::new(&run.id, task.destination.clone(), &task.text);
    request.metadata = metadata;
    request.visibility = task.visibility;
    request.subject = subject;
    let attribution = format!("scheduled task, {}", task.cadence.describe());
    request.attribution = Some(line(&attribution, bounds::ATTRIBUTION));
    Ok(request)
}

/// One line of at most so many characters.
fn line(text: &str, n_chars: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(n_chars).collect()
}
