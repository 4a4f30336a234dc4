-- Namespaces in which more pods restart than before. After the platform's official "Kubernetes pod restarts"
-- inspection: the share of restarted pods rises in the last 30 minutes. The query is ours, by DataKit's
-- documentation (object history of kubelet_pod, tag cluster_name_k8s): query not yet run against a live workspace.
local workspace = require "lib.workspace"

-- By namespace: all pods, and those that restarted with the number of restarts.
local function count(list)
  local out = {}
  for _, series in ipairs(list) do
    local cluster, namespace = series.tags.cluster_name_k8s or "?", series.tags.namespace or "?"
    local key = cluster .. "/" .. namespace
    local entry = out[key] or { cluster = cluster, namespace = namespace, all = 0, restarted = {} }
    local most, least = series:points "most", series:points "least"
    local restarts = (most[#most] or 0) - (least[#least] or 0)
    out[key], entry.all = entry, entry.all + 1
    if restarts > 0 then entry.restarted[#entry.restarted + 1] = { name = series.tags.pod_name or "?", restarts = restarts } end
  end
  return out
end

local function shown(restarted)
  table.sort(restarted, function(a, b)
    if a.restarts ~= b.restarts then return a.restarts > b.restarts end
    return a.name < b.name
  end)
  local lines = {}
  for i = 1, math.min(10, #restarted) do
    lines[i] = ("- %s: %d"):format(workspace.text(restarted[i].name, 80), restarted[i].restarts)
  end
  if #restarted > 10 then lines[11] = ("- and %d more"):format(#restarted - 10) end
  return table.concat(lines, "\n")
end

monitor{
  title = "Restarts of pods",
  doc = [[
    Counts the pods of each namespace whose containers restarted in the last 30 minutes, and in the 30 minutes
    before, and reports namespaces where the share of restarted pods has risen.
  ]],
  schedule = "*/30 * * * *",
  timeout = "5m",
  tags = { "workspace", "kubernetes" },
  events = { recover = true, on_change = true, remind = "1d", max_dimensions = 200 },
  params = {
    clusters   = { type = "list", items = "string", default = {}, order = 1, doc = "clusters, one per line; all when empty" },
    namespaces = { type = "list", items = "string", default = {}, order = 2, doc = "namespaces, one per line; all when empty" },
    share      = { type = "number", default = 10, min = 0, max = 100, order = 3, doc = "percent of restarted pods below which nothing is reported" },
    pods       = { type = "integer", default = 2, min = 1, order = 4, doc = "fewer restarted pods are never reported" },
  },
}
function run(params)
  local query = "OH::`kubelet_pod`:(max(`restarts`) AS most, min(`restarts`) AS least)"
    .. workspace.where(workspace.among("cluster_name_k8s", params.clusters), workspace.among("namespace", params.namespaces))
    .. " BY `cluster_name_k8s`, `namespace`, `pod_name`"
  local answers, partial = workspace.ask {
    { query = query, since = "30m", slimit = 1000 },
    { query = query, since = "60m", until_ = "30m", slimit = 1000 },
  }
  if not answers or not workspace.any(#answers[1], "pods", params.clusters) then return end

  local events, seen, before = {}, {}, count(answers[2])
  for key, now in pairs(count(answers[1])) do
    local earlier = before[key]
    local share = 100 * #now.restarted / now.all
    local share_before = earlier and 100 * #earlier.restarted / earlier.all or 0
    seen[now.cluster] = true
    if #now.restarted >= params.pods and share >= params.share and share > share_before then
      events[#events + 1] = {
        title = ("%s: %.0f %% of the pods restarted"):format(key, share), status = share >= 50 and "critical" or "error",
        message = ("In **%s**, namespace **%s**, **%d of %d pods** restarted in the last 30 minutes (%.1f %%); in the 30 minutes before "
          .. "%.1f %%.\n\n%s\n\nWhy: `kubectl -n %s logs --previous POD`, `kubectl -n %s describe pod POD`"):format(now.cluster, now.namespace,
          #now.restarted, now.all, share, share_before, shown(now.restarted), now.namespace, now.namespace),
        dimension_tags = { cluster_name_k8s = now.cluster, namespace = now.namespace },
      }
    end
  end
  table.sort(events, function(a, b) return a.title < b.title end)
  workspace.report(events, partial, workspace.missing(params.clusters, seen))
end
