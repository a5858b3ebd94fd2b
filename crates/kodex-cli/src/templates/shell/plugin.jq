# Lines of JSON-RPC in, one answer for each request out.

# What the plugin replies to its hook. `empty` where there is nothing to say.
def reply: {plugin: "{{name}}", payload: .payload};

def answer($result): {jsonrpc: "2.0", id: .id, result: $result};
def failure($number; $code; $message):
  {jsonrpc: "2.0", id: .id, error: {code: $number, message: $message, data: {code: $code}}};

def call:
  if .params.kind == "hook" and .params.name == "hook.name" then
    . as $request
    | try ([$request.params | reply] | if length == 0 then {} else {reply: .[0]} end | . as $result | $request | answer($result))
      catch (. as $error | $request | failure(-32000; "plugin.raised"; $error | tostring))
  else failure(-32601; "method.unknown"; "there is no \(.params.kind) \(.params.name)")
  end;

def answered:
  if .method == "initialize" then
    if .params.contract.version == 1 then
      answer({contract: {version: 1, features: []}, plugin: {name: "{{name}}", version: "0.1.0"}})
    else failure(-32602; "params.invalid"; "this plugin speaks contract version 1") end
  elif .method == "call" then call
  elif .method == "shutdown" then answer(null)
  else failure(-32601; "method.unknown"; "there is no method \(.method)")
  end;

foreach inputs as $line (null;
  try ($line | fromjson) catch {broken: true};
  if .broken then {id: null} | failure(-32700; "wire.frame.syntax"; "the line is no JSON")
  # What has no id is a notification; nobody waits for an answer.
  elif has("id") and has("method") then (answered, if .method == "shutdown" then halt else empty end)
  else empty end)
