-- Made by `selfmon-lua types`: do not edit.
---@meta selfmon.stats

---Options of slope.
---@class selfmon.stats.Line
---@field times number[]? time of each value; 1, 2, 3 … when left out
---@field method "ols"|"theil-sen"? least squares, or the median slope, which does not mind outliers

---Options of forecast.
---@class selfmon.stats.ForecastOptions
---@field times number[]? time of each value; 1, 2, 3 … when left out
---@field at number? the time to look at
---@field ahead number? the same, counted from the last time; one step when both are left out
---@field threshold number? the value whose time is asked for
---@field direction "up"|"down"? from which side the threshold is reached; up
---@field confidence number? share of the values that low and high shall hold; 0.95
---@field method "ols"|"theil-sen"? theil-sen

---Where a line leads.
---@class selfmon.stats.Forecast
---@field n integer points it rests on
---@field slope number change per unit of time
---@field intercept number value at time 0
---@field r2 number share of the variance that the line explains
---@field stdev number typical distance of a point from the line
---@field now number the line at the last time
---@field at number the time looked at
---@field value number the line at that time
---@field low number lower end of the range at that time
---@field high number upper end of the range at that time
---@field left number? time from the last point until the threshold; nil when the line does not lead there
---@field soonest number? not before that time, with the confidence
---@field latest number? not after that time, with the confidence; nil when never

---A place where the level of a list changes.
---@class selfmon.stats.Change
---@field index integer first point of the new level
---@field before number median before
---@field after number median after
---@field shift number after less before
---@field p number probability of such a change by chance

---Options of changepoint.
---@class selfmon.stats.ChangeOptions
---@field p number? greatest probability by chance; 0.01
---@field min integer? least points on each side; 5
---@field max integer? most changes; 10
---@field shift number? leave out changes smaller than this; 0

---A value that does not belong with the others.
---@class selfmon.stats.Outlier
---@field index integer its place in the list
---@field value number the value
---@field score number how far off, in deviations or quartile ranges

---A list taken apart.
---@class selfmon.stats.Season
---@field period integer points of one period
---@field strength number share of the variance about the trend that the pattern explains
---@field pattern number[] mean course of one period, about 0
---@field trend number[] mean over one period around each point
---@field season number[] the pattern laid along the list
---@field rest number[] what remains

---Figures of plain lists of numbers: averages, spread, lines, changes, seasons. Pure. A list raises when it
---holds anything but finite numbers and missing points (cjson.null, NaN).
---@class selfmon.stats
local M = {}

---Arithmetic mean, summed so that no digits are lost.
---```lua
---print(require "selfmon.stats".mean { 1, 2, 6 })
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@return number? mean
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.mean(xs) end

---The value in the middle; of an even number the mean of the two.
---```lua
---print(require "selfmon.stats".median { 1, 2, 600 })
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@return number? median
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.median(xs) end

---The value below which a share of the list lies, interpolated (type 7).
---```lua
---print(require "selfmon.stats".quantile({ 1, 2, 3, 40 }, 0.95))
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param q number|number[] share from 0 to 1, or a list of them
---@return number|number[]? value a list for a list of shares
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.quantile(xs, q) end

---Standard deviation, of a sample unless population is true.
---```lua
---print(require "selfmon.stats".stdev { 1, 2, 6 })
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param population? boolean divide by n, not by n - 1
---@return number? stdev
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.stdev(xs, population) end

---Median distance from the median.
---```lua
---print(require "selfmon.stats".mad({ 1, 2, 600 }, 1.4826))
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param scale? number 1; 1.4826 makes it comparable with stdev
---@return number? mad
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.mad(xs, scale) end

---How many deviations x lies from the centre of the list; without x those of each value.
---```lua
---print(require "selfmon.stats".zscore({ 10, 11, 9, 10 }, 25))
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param x? number the value to place
---@param opts? { robust: boolean? } robust: by median and mad
---@return number|number[]? score without x a list; NaN for a missing point
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.zscore(xs, x, opts) end

---Exponentially weighted mean at each point.
---```lua
---local smooth = require "selfmon.stats".ewma({ 1, 5, 2, 6 }, { span = 3 })
---print(smooth[#smooth])
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param alpha? number|{ alpha: number?, span: number?, halflife: number? } weight of a new point; 0.3
---@return number[]? smooth as long as the list
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.ewma(xs, alpha) end

---The straight line through a list.
---```lua
---local slope = require "selfmon.stats".slope({ 5, 7, 9 }, { times = { 0, 60, 120 } })
---print(("%.2f a minute"):format(slope * 60))
---```
---@param ys number[] list of numbers; cjson.null and NaN are missing points
---@param opts? selfmon.stats.Line
---@return number? slope change per unit of time
---@return number|string intercept value at time 0; the message when there is no line
---@return number|string r2 share of the variance explained; the code when there is no line
---@nodiscard
function M.slope(ys, opts) end

---Where the line through a list leads, with its range, and when it reaches a threshold.
---```lua
---local line = require "selfmon.stats".forecast({ 70, 71, 72, 73 }, { threshold = 90 })
---print(("full in %.0f hours"):format(line.left))
---```
---@param ys number[] list of numbers; cjson.null and NaN are missing points
---@param opts? selfmon.stats.ForecastOptions
---@return selfmon.stats.Forecast? line
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.forecast(ys, opts) end

---Where the level of a list changes.
---```lua
---local xs = { 1, 2, 1, 2, 1, 2, 1, 2, 9, 8, 9, 8, 9, 8, 9, 8 }
---print(require "selfmon.stats".changepoint(xs)[1].index)
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param opts? selfmon.stats.ChangeOptions
---@return selfmon.stats.Change[]? changes in order; empty when the level stays
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.changepoint(xs, opts) end

---Values that do not belong with the others.
---```lua
---for _, o in ipairs(require "selfmon.stats".outliers { 5, 6, 5, 60, 6 }) do print(o.index, o.value) end
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param opts? { method: "mad"|"iqr"?, k: number? } mad with k = 3.5, iqr with k = 1.5
---@return selfmon.stats.Outlier[]? outliers in order; empty when there are none
---@return string? message
---@return string? code no_data: the list holds too little
---@nodiscard
function M.outliers(xs, opts) end

---Takes a list apart into trend, season and rest; finds the period unless it is given.
---```lua
---local xs = {}
---for i = 1, 96 do xs[i] = 10 * math.sin(i * math.pi / 12) + i % 5 end
---print(require "selfmon.stats".seasonal(xs).period)
---```
---@param xs number[] list of numbers; cjson.null and NaN are missing points
---@param opts? { period: integer?, min: integer?, max: integer?, strength: number? }
---@return selfmon.stats.Season? season
---@return string? message
---@return string? code none: nothing repeats; no_data
---@nodiscard
function M.seasonal(xs, opts) end

return M
