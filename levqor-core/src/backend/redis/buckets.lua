-- Takes from several token buckets in one step: all pass and are charged, or one refuses and none is.
--
-- The usual case of `limits.lua`, for what is done millions of times: the same keys, the same arithmetic and
-- the same answer, with one read for all.
--
-- KEYS: per bucket its state and its block.
-- ARGV: now in milliseconds, or empty for Redis' own clock; how long keys outlive their end; then, as doubles
--   in one string, per bucket cost, interval, ticks per millisecond, capacity, bound.

local now = ARGV[1]
if now == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
else
  now = tonumber(now)
end
local fmod, numbers, call = math.fmod, struct.unpack, redis.call

local found = call('MGET', unpack(KEYS))
local count, all, answer, levels = #KEYS / 2, true, {now}, {}
for i = 1, count do
  local cost, interval, per_ms, capacity, bound = numbers('<ddddd', ARGV[3], 40 * i - 39)
  local level, delay, reason = 0, 0, 0
  local state, blocked = found[2 * i - 1], found[2 * i]
  if state then
    local split = string.find(state, ':', 1, true)
    local ahead = string.sub(state, 1, split - 1) - now
    if ahead >= 0 then level = math.min(ahead * per_ms + string.sub(state, split + 1), bound) end
  end
  if cost > capacity / interval then
    reason, all = 2, false
  else
    local over = level + cost * interval - capacity
    if over > 0 then
      over = over + per_ms - 1
      delay, reason, all = (over - fmod(over, per_ms)) / per_ms, 1, false
    end
    if blocked and tonumber(blocked) > now then
      delay, reason, all = math.max(delay, blocked - now), 3, false
    end
  end
  levels[i] = level
  answer[4 * i - 2], answer[4 * i - 1] = delay, reason
end

for i = 1, count do
  local cost, interval, per_ms, capacity = numbers('<dddd', ARGV[3], 40 * i - 39)
  local level = levels[i]
  if all and cost > 0 then
    level = level + cost * interval
    local ticks = fmod(level, per_ms)
    local ms = (level - ticks) / per_ms
    -- Fourteen digits are what a number keeps as text here; an instant has thirteen.
    call('SET', KEYS[2 * i - 1], now + ms .. ':' .. ticks, 'PX', ms + 1 + ARGV[2])
  end
  local left, up = math.max(capacity - level, 0), level + per_ms - 1
  answer[4 * i] = (left - fmod(left, interval)) / interval
  answer[4 * i + 1] = (up - fmod(up, per_ms)) / per_ms
end
return answer
