local LIST = "list of numbers; cjson.null and NaN are missing points"
local NONE = { { "message", "string?" }, { "code", "string?", "no_data: the list holds too little" } }

local function answers(name, kind, doc)
  return { { name, kind .. "?", doc }, NONE[1], NONE[2] }
end

return {
  module = "selfmon.stats", since = "0.1.0",
  doc = [[Figures of plain lists of numbers: averages, spread, lines, changes, seasons. Pure. A list raises when it
holds anything but finite numbers and missing points (cjson.null, NaN).]],
  types = {
    { name = "selfmon.stats.Line", doc = "Options of slope.", fields = {
      { "times", "number[]?", "time of each value; 1, 2, 3 … when left out" },
      { "method", '"ols"|"theil-sen"?', "least squares, or the median slope, which does not mind outliers" },
    } },
    { name = "selfmon.stats.ForecastOptions", doc = "Options of forecast.", fields = {
      { "times", "number[]?", "time of each value; 1, 2, 3 … when left out" },
      { "at", "number?", "the time to look at" },
      { "ahead", "number?", "the same, counted from the last time; one step when both are left out" },
      { "threshold", "number?", "the value whose time is asked for" },
      { "direction", '"up"|"down"?', "from which side the threshold is reached; up" },
      { "confidence", "number?", "share of the values that low and high shall hold; 0.95" },
      { "method", '"ols"|"theil-sen"?', "theil-sen" },
    } },
    { name = "selfmon.stats.Forecast", doc = "Where a line leads.", fields = {
      { "n", "integer", "points it rests on" },
      { "slope", "number", "change per unit of time" },
      { "intercept", "number", "value at time 0" },
      { "r2", "number", "share of the variance that the line explains" },
      { "stdev", "number", "typical distance of a point from the line" },
      { "now", "number", "the line at the last time" },
      { "at", "number", "the time looked at" },
      { "value", "number", "the line at that time" },
      { "low", "number", "lower end of the range at that time" },
      { "high", "number", "upper end of the range at that time" },
      { "left", "number?", "time from the last point until the threshold; nil when the line does not lead there" },
      { "soonest", "number?", "not before that time, with the confidence" },
      { "latest", "number?", "not after that time, with the confidence; nil when never" },
    } },
    { name = "selfmon.stats.Change", doc = "A place where the level of a list changes.", fields = {
      { "index", "integer", "first point of the new level" },
      { "before", "number", "median before" },
      { "after", "number", "median after" },
      { "shift", "number", "after less before" },
      { "p", "number", "probability of such a change by chance" },
    } },
    { name = "selfmon.stats.ChangeOptions", doc = "Options of changepoint.", fields = {
      { "p", "number?", "greatest probability by chance; 0.01" },
      { "min", "integer?", "least points on each side; 5" },
      { "max", "integer?", "most changes; 10" },
      { "shift", "number?", "leave out changes smaller than this; 0" },
    } },
    { name = "selfmon.stats.Outlier", doc = "A value that does not belong with the others.", fields = {
      { "index", "integer", "its place in the list" },
      { "value", "number", "the value" },
      { "score", "number", "how far off, in deviations or quartile ranges" },
    } },
    { name = "selfmon.stats.Season", doc = "A list taken apart.", fields = {
      { "period", "integer", "points of one period" },
      { "strength", "number", "share of the variance about the trend that the pattern explains" },
      { "pattern", "number[]", "mean course of one period, about 0" },
      { "trend", "number[]", "mean over one period around each point" },
      { "season", "number[]", "the pattern laid along the list" },
      { "rest", "number[]", "what remains" },
    } },
  },
  functions = {
    { name = "mean", doc = "Arithmetic mean, summed so that no digits are lost.",
      params = { { "xs", "number[]", LIST } }, returns = answers("mean", "number"),
      example = [[print(require "selfmon.stats".mean { 1, 2, 6 })]] },
    { name = "median", doc = "The value in the middle; of an even number the mean of the two.",
      params = { { "xs", "number[]", LIST } }, returns = answers("median", "number"),
      example = [[print(require "selfmon.stats".median { 1, 2, 600 })]] },
    { name = "quantile", doc = "The value below which a share of the list lies, interpolated (type 7).",
      params = { { "xs", "number[]", LIST }, { "q", "number|number[]", "share from 0 to 1, or a list of them" } },
      returns = answers("value", "number|number[]", "a list for a list of shares"),
      example = [[print(require "selfmon.stats".quantile({ 1, 2, 3, 40 }, 0.95))]] },
    { name = "stdev", doc = "Standard deviation, of a sample unless population is true.",
      params = { { "xs", "number[]", LIST }, { "population?", "boolean", "divide by n, not by n - 1" } },
      returns = answers("stdev", "number"), example = [[print(require "selfmon.stats".stdev { 1, 2, 6 })]] },
    { name = "mad", doc = "Median distance from the median.",
      params = { { "xs", "number[]", LIST }, { "scale?", "number", "1; 1.4826 makes it comparable with stdev" } },
      returns = answers("mad", "number"), example = [[print(require "selfmon.stats".mad({ 1, 2, 600 }, 1.4826))]] },
    { name = "zscore", doc = "How many deviations x lies from the centre of the list; without x those of each value.",
      params = { { "xs", "number[]", LIST }, { "x?", "number", "the value to place" },
                 { "opts?", "{ robust: boolean? }", "robust: by median and mad" } },
      returns = answers("score", "number|number[]", "without x a list; NaN for a missing point"),
      example = [[print(require "selfmon.stats".zscore({ 10, 11, 9, 10 }, 25))]] },
    { name = "ewma", doc = "Exponentially weighted mean at each point.",
      params = { { "xs", "number[]", LIST },
                 { "alpha?", "number|{ alpha: number?, span: number?, halflife: number? }", "weight of a new point; 0.3" } },
      returns = answers("smooth", "number[]", "as long as the list"),
      example = [[local smooth = require "selfmon.stats".ewma({ 1, 5, 2, 6 }, { span = 3 })
print(smooth[#smooth])]] },
    { name = "slope", doc = "The straight line through a list.",
      params = { { "ys", "number[]", LIST }, { "opts?", "selfmon.stats.Line", "" } },
      returns = { { "slope", "number?", "change per unit of time" }, { "intercept", "number|string", "value at time 0; the message when there is no line" },
                  { "r2", "number|string", "share of the variance explained; the code when there is no line" } },
      example = [[local slope = require "selfmon.stats".slope({ 5, 7, 9 }, { times = { 0, 60, 120 } })
print(("%.2f a minute"):format(slope * 60))]] },
    { name = "forecast", doc = "Where the line through a list leads, with its range, and when it reaches a threshold.",
      params = { { "ys", "number[]", LIST }, { "opts?", "selfmon.stats.ForecastOptions", "" } },
      returns = answers("line", "selfmon.stats.Forecast"),
      example = [[local line = require "selfmon.stats".forecast({ 70, 71, 72, 73 }, { threshold = 90 })
print(("full in %.0f hours"):format(line.left))]] },
    { name = "changepoint", doc = "Where the level of a list changes.",
      params = { { "xs", "number[]", LIST }, { "opts?", "selfmon.stats.ChangeOptions", "" } },
      returns = answers("changes", "selfmon.stats.Change[]", "in order; empty when the level stays"),
      example = [[local xs = { 1, 2, 1, 2, 1, 2, 1, 2, 9, 8, 9, 8, 9, 8, 9, 8 }
print(require "selfmon.stats".changepoint(xs)[1].index)]] },
    { name = "outliers", doc = "Values that do not belong with the others.",
      params = { { "xs", "number[]", LIST },
                 { "opts?", '{ method: "mad"|"iqr"?, k: number? }', "mad with k = 3.5, iqr with k = 1.5" } },
      returns = answers("outliers", "selfmon.stats.Outlier[]", "in order; empty when there are none"),
      example = [[for _, o in ipairs(require "selfmon.stats".outliers { 5, 6, 5, 60, 6 }) do print(o.index, o.value) end]] },
    { name = "seasonal", doc = "Takes a list apart into trend, season and rest; finds the period unless it is given.",
      params = { { "xs", "number[]", LIST },
                 { "opts?", "{ period: integer?, min: integer?, max: integer?, strength: number? }", "" } },
      returns = { { "season", "selfmon.stats.Season?" }, { "message", "string?" },
                  { "code", "string?", "none: nothing repeats; no_data" } },
      example = [[local xs = {}
for i = 1, 96 do xs[i] = 10 * math.sin(i * math.pi / 12) + i % 5 end
print(require "selfmon.stats".seasonal(xs).period)]] },
  },
}
