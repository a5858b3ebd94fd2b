# A gate before tools: lines of JSON-RPC in, one answer for each request out.
#
# The rules are data, in rules.json and in the plugin's configuration. A rule that speaks of a
# command looks at every tool that takes one, a rule that speaks of a path at every tool that takes
# one; nothing here depends on what an agent calls its tools.

# Longer commands are not searched: somebody should look at them.
def longest: 65536;

def answer($id; $result): {jsonrpc: "2.0", id: $id, result: $result};
def failure($id; $number; $code; $message):
  {jsonrpc: "2.0", id: $id, error: {code: $number, message: $message, data: {code: $code}}};

# What a rule may speak of. A command may be a text or a list of words.
def commands: .tool_input | objects | .command, .cmd, .script
  | if type == "array" then map(tostring) | join(" ") elif . == null then empty else . end;
def paths: .tool_input | objects | .file_path, .path, .notebook_path, .filePath | strings;

def weight: {allow: 0, ask: 1, deny: 2}[.];

def verdict($rule): {decision: $rule.decision, reason: "\($rule.id): \($rule.reason)"};

# `near` saves the pattern, which is compiled for each call, when none of its words is there.
def is_near($text): .near == null or any(.near[]; . as $word | $text | index($word) != null);

def breaks($text; pattern): is_near($text) and (pattern as $pattern | $text | test($pattern));

def objections($rules):
  (commands as $text
    | if ($text | type) != "string" then
        {decision: "ask", reason: "unreadable: the command is no text"}
      elif ($text | length) > longest then
        {decision: "ask", reason: "too-long: the command is too long to be checked"}
      else $rules[] | select(.command and breaks($text; .command)) | verdict(.)
      end),
  (paths as $text | $rules[] | select(.path and breaks($text; .path)) | verdict(.));

# Nothing to say when no rule objects: only a grant may allow, and this plugin gives none.
def reply($rules): [objections($rules)]
  | if length == 0 then {} else {reply: (sort_by(.decision | weight) | last)} end;

# A rule that cannot be read must keep the gate from opening, so it is tried before the first call.
def checked: . as $rule
  | if type != "object" or (.id | type) != "string" or (.reason | type) != "string"
        or (.decision | IN("ask", "deny") | not) or ((.command // .path) | type) != "string"
        or (.near != null and (.near | type != "array" or any(.[]; type != "string")))
    then error("a rule needs id, decision (ask or deny), reason, and command or path; near is a list of words: \($rule | tojson)")
    else . end
  | try ((.command, .path | strings) as $p | "" | test($p)) catch error("rule \($rule.id): \(.)")
  | $rule;

def own_rules: (.context | objects | .rules) // []
  | if type == "array" then . else error("`rules` must be a list of rules") end;

def initialize($message): $message.params
  | if type != "object" or (.contract | type) != "object" then
      {say: failure($message.id; -32602; "params.invalid"; "the handshake needs contract and plugin")}
    elif .contract.version != 1 then
      {say: failure($message.id; -32602; "contract.version.unsupported"; "guard-shell speaks contract version 1")}
    elif .plugin != "guard-shell" then
      {say: failure($message.id; -32602; "plugin.name.different"; "this is guard-shell")}
    else . as $params
      | try ($rules[0] + ($params | own_rules) | map(checked) | {
          rules: .,
          say: answer($message.id; {
            contract: {version: 1, features: [$params.contract.features[]? | select(. == "cancel")]},
            plugin: {name: "guard-shell", version: "0.1.0"}
          })
        })
        catch {say: failure($message.id; -32000; "plugin.raised"; tostring)}
    end;

def call($state; $message): $message.id as $id | $message.params
  | if $state.rules == null then failure($id; -32003; "not_initialized"; "initialize comes first")
    elif type != "object" or (.name | type) != "string" or (has("payload") | not) or (.kind | IN("hook", "tool") | not) then
      failure($id; -32602; "params.invalid"; "a call needs kind, name and payload")
    elif .kind != "hook" or .name != "tool.before" then
      failure($id; -32601; "method.unknown"; "guard-shell has no \(.kind) \(.name | tojson)")
    # An error here is a denial: the host treats a gate that fails as one that says no.
    elif (.payload | type) != "object" then
      failure($id; -32000; "plugin.raised"; "the payload is no object")
    else answer($id; .payload | reply($state.rules)) end;

def is_message: type == "object" and .jsonrpc == "2.0"
  and (.method | type | IN("string", "null"))
  and (.id | type | IN("number", "string", "null"))
  and ((.method != null) != (has("result") or has("error")))
  and (keys_unsorted - ["jsonrpc", "id", "method", "params", "result", "error"] == []);

# One line and the state so far; the next state, with what to say.
def step($line): . as $state | {rules}
  # An empty line gives neither a value nor an error.
  | ([$line | try {message: fromjson} catch {broken: .}] | first // {broken: "nothing stands there"}) as $read
  | $read.message as $message
  | if $read.broken then
      .say = failure(null; -32700; "wire.frame.syntax"; "the line is no JSON: \($read.broken)")
    elif $message | is_message | not then
      .say = failure(null; -32600; "wire.frame.envelope"; "the line is no message of JSON-RPC 2.0")
    # Notifications and answers: this plugin is done before it could be cancelled, and asks nothing.
    elif $message.id == null or $message.method == null then .
    elif $message.method == "initialize" then
      if .rules then .say = failure($message.id; -32600; "wire.initialized"; "the handshake was already made")
      else . + initialize($message) end
    elif $message.method == "call" then .say = call($state; $message)
    elif $message.method == "shutdown" then .say = answer($message.id; null) | .done = true
    else .say = failure($message.id; -32601; "method.unknown"; "guard-shell has no method \($message.method | tojson)")
    end;

foreach inputs as $line ({rules: null}; step($line); (.say | values), (if .done then halt else empty end))
