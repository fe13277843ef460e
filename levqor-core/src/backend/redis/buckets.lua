-- Takes from several token buckets in one step: all pass and are charged, or one refuses and none is.
--
-- The usual case of `limits.lua`, for what is done millions of times: the same keys, the same arithmetic,
-- the same answer, and one read for all.
--
-- KEYS: per bucket its state and its block.
-- ARGV: now in milliseconds, or empty for Redis' own clock; how long keys outlive their end; then per bucket
--   cost, interval, ticks per millisecond, capacity, bound.

local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
else
  now = tonumber(ARGV[1])
end

local function div(a, b) return (a - math.fmod(a, b)) / b end

local found = redis.call('MGET', unpack(KEYS))
local count, all = #KEYS / 2, true
local levels, delays, reasons = {}, {}, {}
for i = 1, count do
  local n = 5 * i - 2
  local cost, interval, per_ms = tonumber(ARGV[n]), tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2])
  local capacity, bound = tonumber(ARGV[n + 3]), tonumber(ARGV[n + 4])
  local level, delay, reason = 0, 0, 0
  local state, blocked = found[2 * i - 1], found[2 * i]
  if state then
    local split = string.find(state, ':', 1, true)
    local ahead = tonumber(string.sub(state, 1, split - 1)) - now
    if ahead >= 0 then level = math.min(ahead * per_ms + tonumber(string.sub(state, split + 1)), bound) end
  end
  if cost > capacity / interval then
    reason = 2
  else
    local over = level + math.min(cost * interval, bound) - capacity
    if over > 0 then delay, reason = div(over + per_ms - 1, per_ms), 1 end
    if blocked and tonumber(blocked) > now then
      delay, reason = math.max(delay, tonumber(blocked) - now), 3
    end
  end
  levels[i], delays[i], reasons[i] = level, delay, reason
  all = all and reason == 0
end

local answer = {now}
for i = 1, count do
  local n = 5 * i - 2
  local cost, interval, per_ms = tonumber(ARGV[n]), tonumber(ARGV[n + 1]), tonumber(ARGV[n + 2])
  local capacity, bound = tonumber(ARGV[n + 3]), tonumber(ARGV[n + 4])
  local level = levels[i]
  if all and cost > 0 then
    level = math.min(level + cost * interval, bound)
    local ms = div(level, per_ms)
    redis.call('SET', KEYS[2 * i - 1], string.format('%.0f:%.0f', now + ms, math.fmod(level, per_ms)),
      'PX', string.format('%.0f', ms + 1 + ARGV[2]))
  end
  answer[#answer + 1] = delays[i]
  answer[#answer + 1] = reasons[i]
  answer[#answer + 1] = div(math.max(capacity - level, 0), interval)
  answer[#answer + 1] = div(level + per_ms - 1, per_ms)
end
return answer
