-- JUnit's XML beside what is shown on the terminal: testsuites / testsuite (a spec file) / testcase, with
-- failure, error or skipped, as Jenkins and GitLab read it. Any name and message makes a well-formed file.

local function text_of(v)
  v = type(v) == "string" and v or v == nil and "" or tostring(v)
  if not utf8.len(v) then v = v:gsub("[\128-\255]", "?") end
  -- XML 1.0 has no place for other control characters, surrogates and the last two of the plane.
  v = v:gsub("[%z\1-\8\11\12\14-\31]", "?"):gsub("\239\191[\190\191]", "?")
  return (v:gsub("[&<>\"\r]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\r"] = "&#13;" }))
end

local function attribute(v)
  return (text_of(v):gsub("[\n\t]", { ["\n"] = "&#10;", ["\t"] = "&#9;" }))
end

local function tag(name, attributes)
  local parts = { "<", name }
  for _, pair in ipairs(attributes) do
    parts[#parts + 1] = (' %s="%s"'):format(pair[1], attribute(pair[2]))
  end
  return table.concat(parts)
end

local function seconds(s)
  return ("%.3f"):format(s or 0)
end

local function write_case(out, case)
  local head = tag("testcase", { { "name", case.name }, { "classname", case.class }, { "file", case.file },
                                 { "line", case.line }, { "time", seconds(case.time) } })
  if not case.kind then
    out[#out + 1] = "    " .. head .. "/>"
  elseif case.kind == "skipped" then
    out[#out + 1] = "    " .. head .. ">"
    out[#out + 1] = "      " .. tag("skipped", { { "message", case.message } }) .. "/>"
    out[#out + 1] = "    </testcase>"
  else
    local first = case.message:match "^[^\n]*"
    out[#out + 1] = "    " .. head .. ">"
    out[#out + 1] = ("      %s>%s</%s>"):format(
      tag(case.kind, { { "message", first }, { "type", case.kind } }), text_of(case.message), case.kind)
    out[#out + 1] = "    </testcase>"
  end
end

local function counts(cases)
  local n = { tests = #cases, failure = 0, error = 0, skipped = 0, time = 0 }
  for _, case in ipairs(cases) do
    if case.kind then n[case.kind] = n[case.kind] + 1 end
    n.time = n.time + (case.time or 0)
  end
  return { { "tests", n.tests }, { "failures", n.failure }, { "errors", n.error }, { "skipped", n.skipped },
           { "time", seconds(n.time) } }, n
end

local function write_file(path, suites)
  local all = {}
  for _, suite in ipairs(suites) do table.move(suite.cases, 1, #suite.cases, #all + 1, all) end
  local out = { '<?xml version="1.0" encoding="UTF-8"?>', tag("testsuites", counts(all)) .. ">" }
  for _, suite in ipairs(suites) do
    local head = counts(suite.cases)
    table.insert(head, 1, { "name", suite.file })
    head[#head + 1] = { "timestamp", suite.at }
    out[#out + 1] = "  " .. tag("testsuite", head) .. ">"
    for _, case in ipairs(suite.cases) do write_case(out, case) end
    out[#out + 1] = "  </testsuite>"
  end
  out[#out + 1] = "</testsuites>\n"
  local f, err = io.open(path, "w")
  if f then
    f:write(table.concat(out, "\n"))
    f:close()
  else
    io.stderr:write("selfmon-lua test: cannot write ", err, "\n")
  end
end

-- Listens to the runner (busted) and writes `path` when it ends.
return function(runner, path)
  local suites, by_file, open = {}, {}, nil

  local function suite_of(file)
    local suite = by_file[file]
    if not suite then
      suite = { file = file, cases = {}, at = os.date "!%Y-%m-%dT%H:%M:%S" }
      by_file[file] = suite
      suites[#suites + 1] = suite
    end
    return suite
  end

  local function file_of(element)
    local at = element
    while at and at.descriptor ~= "file" do at = runner.parent(at) end
    return at and at.name or element.trace and element.trace.short_src or "?"
  end

  local function name_of(element)
    local names, at = {}, element
    while at and at.descriptor ~= "file" and (at.name or at.descriptor) do
      if at.descriptor ~= "suite" then table.insert(names, 1, at.name or at.descriptor) end
      at = runner.parent(at)
    end
    return #names > 0 and table.concat(names, " ") or element.descriptor or "?"
  end

  local function case_of(element)
    local file = file_of(element)
    return { name = name_of(element), file = file, class = file:gsub("%.lua$", ""):gsub("^%./", ""):gsub("/", "."),
             line = element.trace and element.trace.currentline or 1, message = "" }
  end

  runner.subscribe({ "test", "start" }, function(element)
    open = case_of(element)
    local cases = suite_of(open.file).cases
    cases[#cases + 1] = open
    return nil, true
  end)

  runner.subscribe({ "test", "end" }, function(element, _, status)
    if open then
      open.time = element.duration
      if status == "pending" then open.kind = "skipped" end
    end
    open = nil
    return nil, true
  end)

  runner.subscribe({ "pending" }, function(_, _, message)
    if open then open.kind, open.message = "skipped", message or "" end
    return nil, true
  end)

  -- What goes wrong outside a test (a file that does not load, a setup) is a test case of its own.
  local function trouble(kind)
    return function(element, _, message)
      local case = open
      if not case or element.descriptor ~= "it" then
        case = case_of(element)
        case.kind = "error"
        local cases = suite_of(case.file).cases
        cases[#cases + 1] = case
      else
        case.kind = kind
      end
      case.message = type(message) == "string" and message or tostring(message)
      return nil, true
    end
  end
  runner.subscribe({ "failure" }, trouble "failure")
  runner.subscribe({ "error" }, trouble "error")

  runner.subscribe({ "exit" }, function()
    write_file(path, suites)
    return nil, true
  end)
end
