//! Codes of what either side of the wire may answer, and of JSON that is refused at the door.
//!
//! Codes of [manifests](crate::manifest) and [permissions](crate::permission) stand with their rules.

/// The stable codes, sorted, with what each means and what to do.
pub const CODES: &[(&str, &str)] = &[
    (
        "call.cancelled",
        "The call was cancelled by its caller or at its deadline. Give it more time, or do less in it.",
    ),
    (
        "contract.version.unsupported",
        "The plugin's SDK speaks another version of the contract than the host. Update the older of the two.",
    ),
    (
        "host.answer.too_long",
        "The host's answer does not fit into one line. Ask for less at a time.",
    ),
    (
        "host.busy",
        "Too many requests of the plugin wait for the host already. Wait for answers before asking more.",
    ),
    (
        "host.closed",
        "The host ended the line while the plugin waited for an answer. End; a new process is started when it is needed.",
    ),
    (
        "host.failed",
        "The host could not do what the plugin asked for and gave no code. The message and the host's log say why.",
    ),
    (
        "host.form",
        "A request to the host, or its answer, cannot be written or read as JSON. Check the types of what is sent.",
    ),
    (
        "host.method.unknown",
        "The host has no such method. Check its spelling and which contract version it came with.",
    ),
    (
        "json.syntax",
        "A text is no JSON, or JSON that some reader would refuse: lone surrogates, numbers beyond a double. Mend it at the place that is shown.",
    ),
    (
        "json.too_deep",
        "A JSON document nests deeper than allowed. Make it flatter, or raise `limits.depth`.",
    ),
    (
        "json.too_long",
        "A JSON document is longer than allowed. Send less, or raise `limits.frame_bytes`.",
    ),
    (
        "method.unknown",
        "The plugin has no such method, hook or tool. Declare only what the code answers.",
    ),
    (
        "not_initialized",
        "A request came before `initialize`. Only a host with a bug sends one.",
    ),
    (
        "params.invalid",
        "The parameters of a request do not have their form. Compare them with the contract.",
    ),
    (
        "permission.denied",
        "The plugin asked for something that it was not granted. Declare the permission with a reason, and have it granted.",
    ),
    (
        "plugin.name.different",
        "The code gives another name than it did when it was listed. Let its name not depend on the surroundings.",
    ),
    (
        "plugin.queue.full",
        "Too many calls wait inside the plugin's process. Make its answers faster, or lower `limits.concurrency`.",
    ),
    (
        "plugin.raised",
        "The plugin's own code raised an error. The message is its own; `kodex doctor` shows the end of its log.",
    ),
    (
        "plugin.reply.too_deep",
        "The reply nests deeper than the host takes. Make it flatter.",
    ),
    (
        "plugin.reply.too_large",
        "The reply is longer than the host takes. Reply with less, or with where the rest is.",
    ),
    (
        "plugin.reply.unserialisable",
        "The reply holds what has no form in JSON. Reply with texts, numbers, lists and objects with texts as keys.",
    ),
    (
        "span.invalid",
        "A text is no span of time. Write a whole number and a unit, such as `500ms`, `2s` or `1m`.",
    ),
    (
        "state.contended",
        "Others changed the value each time that the plugin tried to. Take a lock, or split the value.",
    ),
    (
        "tool.input.refused",
        "The tool refuses its input. The message is for the model, which may try again with another one.",
    ),
    (
        "wire.frame.envelope",
        "A line is JSON but no message of the contract. Compare it with `contract/WIRE.md`.",
    ),
    (
        "wire.frame.syntax",
        "A line is no JSON. Write nothing but messages to standard output.",
    ),
    (
        "wire.frame.too_deep",
        "A line nests deeper than allowed. Make the payload flatter.",
    ),
    (
        "wire.frame.too_long",
        "A line is longer than allowed. Send less in one message.",
    ),
    (
        "wire.initialized",
        "`initialize` came a second time. Only a host with a bug sends it twice.",
    ),
];

#[cfg(test)]
mod tests {
    use super::CODES;

    #[test]
    fn the_table_is_sorted() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
