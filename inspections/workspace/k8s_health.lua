-- Kubernetes clusters that are not well. After the platform's official "Kubernetes health" inspection: memory, disk
-- and processor of the nodes, and pods that are pending. The page names no bounds: these are ours. So are the
-- queries, by DataKit's documentation (tag cluster_name_k8s): query not yet run against a live workspace.
local workspace = require "lib.workspace"

local function last(series, column)
  local values = series:points(column)
  return values[#values]
end

-- Events for the nodes above the limit of one figure.
local function nodes(list, what, limit, events, seen)
  for _, series in ipairs(list) do
    local cluster, host, used = series.tags.cluster_name_k8s or "?", series.tags.host or "?", last(series, "used")
    seen[cluster] = true
    if used and used > limit then
      events[#events + 1] = {
        title = ("%s: %s of node %s is %.0f %% used"):format(cluster, what, host, used),
        status = used > (100 + limit) / 2 and "critical" or "warning",
        message = ("Node **%s** of the cluster **%s** uses **%.1f %%** of its %s; above %g %% it is reported.\n\n"
          .. "- what runs there: `kubectl get pods -A --field-selector spec.nodeName=%s`\n- `kubectl top pods -A --sort-by=%s`"):format(
          host, cluster, used, what, limit, host, what == "cpu" and "cpu" or "memory"),
        dimension_tags = { cluster_name_k8s = cluster, host = host, figure = what },
      }
    end
  end
end

-- An event for each cluster with too many pending pods.
local function pods(list, limit, events, seen)
  local clusters = {}
  for _, series in ipairs(list) do
    local cluster, n, phase = series.tags.cluster_name_k8s or "?", last(series, "pods") or 0, series.tags.phase
    local c = clusters[cluster] or { all = 0, pending = 0 }
    clusters[cluster], seen[cluster] = c, true
    -- Pods that have done their work are no part of the load.
    if phase ~= "Succeeded" then c.all = c.all + n end
    if phase == "Pending" then c.pending = c.pending + n end
  end
  for cluster, c in pairs(clusters) do
    local share = c.all > 0 and 100 * c.pending / c.all or 0
    if share > limit then
      events[#events + 1] = {
        title = ("%s: %.0f %% of the pods are pending"):format(cluster, share), status = "error",
        message = ("In the cluster **%s** **%d of %d pods** are pending (%.1f %%): they find no node.\n\n"
          .. "Why: `kubectl get pods -A --field-selector status.phase=Pending`, `kubectl get events -A --sort-by=.lastTimestamp`")
          :format(cluster, c.pending, c.all, share),
        dimension_tags = { cluster_name_k8s = cluster, figure = "pending" },
      }
    end
  end
end

monitor{
  title = "Health of Kubernetes",
  doc = [[
    Looks at the nodes of each cluster (processor, memory and disk of the last 15 minutes) and at the share of pods
    that are pending. DataKit must send the tag `cluster_name_k8s`.
  ]],
  schedule = "*/15 * * * *",
  timeout = "5m",
  tags = { "workspace", "kubernetes" },
  events = { recover = true, on_change = true, remind = "1d", max_dimensions = 200 },
  params = {
    clusters = { type = "list", items = "string", default = {}, order = 1, doc = "clusters, one per line; all when empty" },
    cpu      = { type = "number", default = 95, min = 1, max = 100, order = 2, doc = "percent of a node's processor that is too much" },
    memory   = { type = "number", default = 95, min = 1, max = 100, order = 3, doc = "percent of a node's memory that is too much" },
    disk     = { type = "number", default = 90, min = 1, max = 100, order = 4, doc = "percent of a node's disk that is too much" },
    pending  = { type = "number", default = 10, min = 0, max = 100, order = 5, doc = "percent of pending pods that is too much" },
  },
}
function run(params)
  local filter = workspace.where(workspace.among("cluster_name_k8s", params.clusters) or "`cluster_name_k8s` = exists()")
  local function node(query) return { query = query .. filter .. " BY `cluster_name_k8s`, `host`", since = "15m", slimit = 1000 } end
  local answers, partial = workspace.ask {
    node "M::`cpu`:(avg(`usage_total`) AS used)", node "M::`mem`:(avg(`used_percent`) AS used)",
    node "M::`disk`:(max(`used_percent`) AS used)",
    { query = "O::`kubelet_pod`:(count(`name`) AS pods)" .. filter .. " BY `cluster_name_k8s`, `phase`", since = "15m", slimit = 1000 },
  }
  if not answers or not workspace.any(#answers[1] + #answers[2] + #answers[3] + #answers[4], "figures of Kubernetes", params.clusters) then
    return
  end
  local events, seen = {}, {}
  for i, what in ipairs { "cpu", "memory", "disk" } do nodes(answers[i], what, params[what], events, seen) end
  pods(answers[4], params.pending, events, seen)
  table.sort(events, function(a, b) return a.title < b.title end)
  workspace.report(events, partial, workspace.missing(params.clusters, seen))
end
