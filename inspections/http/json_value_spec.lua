local t = require "selfmon.testing"

local URL = "https://api.example/stats"

local function run(answer, params)
  t.http("GET " .. URL, answer)
  local given = { url = URL, path = "queue.waiting", warning = 100, critical = 1000 }
  for k, v in pairs(params or {}) do given[k] = v end
  return t.run("http/json_value.run", given, { grants = { "secret:json_value" }, secrets = { json_value = "s3cret" } })
end

local function event(answer, params)
  local r = run(answer, params)
  assert.are.equal("ok", r.outcome, r.error)
  return r.events[1]
end

local function fails(answer, sentence, params)
  local r = run(answer, params)
  assert.are.equal("failed", r.outcome)
  assert.are.same({}, r.events)
  assert.is_truthy(r.error:find(sentence, 1, true), r.error)
end

describe("http/json_value", function()
  it("without an address says so in the log and stays quiet", function()
    local r = t.run("http/json_value.run")
    assert.are.equal("ok", r.outcome, r.error)
    assert.are.same({}, r.events)
    assert.is_truthy(r.log:find("set the parameters url and path", 1, true))
  end)

  it("says nothing within the limits", function()
    assert.is_nil(event { json = { queue = { waiting = 100 } } })
  end)

  it("reports a value above them", function()
    local e = event { json = { queue = { waiting = 101 } } }
    assert.are.equal("warning", e.status)
    assert.are.equal("queue.waiting is 101", e.title)
    assert.is_truthy(e.message:find("is **101**, above 100.", 1, true), e.message)
    e = event({ json = { queue = { waiting = "1000.5" } } }, { name = "Jobs", unit = "jobs" })
    assert.are.equal("critical", e.status)
    assert.are.equal("Jobs is 1000.5 jobs", e.title)
    assert.are.same({ url = URL, path = "queue.waiting" }, e.dimension_tags)
  end)

  it("reports a value below them", function()
    local limits = { below = true, warning = 20, critical = 5 }
    assert.is_nil(event({ json = { queue = { waiting = 20 } } }, limits))
    assert.are.equal("warning", event({ json = { queue = { waiting = 19 } } }, limits).status)
    assert.are.equal("critical", event({ json = { queue = { waiting = 4 } } }, limits).status)
  end)

  it("counts members and takes elements from the end", function()
    assert.are.equal("critical", event({ json = { jobs = { 1, 2, 3 } } }, { path = "jobs.#", warning = 1, critical = 2 }).status)
    assert.is_nil(event({ json = { jobs = { 9, 9, 0 } } }, { path = "jobs[-1]", warning = 1, critical = 2 }))
    assert.are.equal("warning", event({ json = { ["a.b"] = { 5 } } }, { path = '$["a.b"][0]', warning = 4, critical = 9 }).status)
  end)

  it("sends the secret when told", function()
    assert.is_nil(event({ json = { queue = { waiting = 1 } } }, { bearer = true }))
    assert.are.equal("s3cret", t.requests()[1].password)
  end)

  it("fails when it cannot see", function()
    fails({ error = "connection refused", code = "connect" }, "does not answer: connection refused")
    fails({ status = 503 }, "answered 503")
    fails({ body = "oops" }, "is not JSON")
    fails({ json = { queue = {} } }, "there is no `queue.waiting`: `$.queue` has no member waiting")
    fails({ json = { queue = 7 } }, "there is no `queue.waiting`: `$.queue` is a number")
    fails({ json = { queue = { waiting = "many" } } }, "`queue.waiting` is no number but many")
    fails({ json = { queue = { waiting = 1 } } }, "cannot be read", { path = "queue..waiting" })
  end)
end)
