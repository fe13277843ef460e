-- Takes from several token buckets in one step: all pass and are charged, or one refuses and none is.
--
-- The usual case of `limits.lua`, for what is done millions of times: the same keys, the same arithmetic and
-- the same answer, with one read for all. Numbers travel as doubles in strings, because turning numbers into
-- text and back is most of what a script of this size costs.
--
-- KEYS: per bucket its state and its block.
-- ARGV: now in milliseconds, or empty for Redis' own clock; how long keys outlive their end; then, as doubles
--   in one string, per bucket cost, interval, ticks per millisecond, capacity, bound.

local now, slack, asked = ARGV[1], ARGV[2], ARGV[3]
local fmod, numbers, call = math.fmod, struct.unpack, redis.call
if now == '' then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
else
  now = tonumber(now)
end

local function save(key, ms, ticks)
  call('SET', key, struct.pack('<dd', now + ms, ticks), 'PX', string.format('%d', ms + 1 + slack))
end

-- What a bucket has still to pay for, in ticks.
local function level_of(state, per_ms, bound)
  if not state then return 0 end
  local ms, ticks = numbers('<dd', state)
  return ms < now and 0 or math.min((ms - now) * per_ms + ticks, bound)
end

local found = call('MGET', unpack(KEYS))

-- One bucket that nobody blocked and that has room: nearly every call.
if #KEYS == 2 and not found[2] then
  local cost, interval, per_ms, capacity, bound = numbers('<ddddd', asked)
  local level = level_of(found[1], per_ms, bound) + cost * interval
  if level <= capacity then
    local ticks = fmod(level, per_ms)
    local ms = (level - ticks) / per_ms
    if cost > 0 then save(KEYS[1], ms, ticks) end
    local left = capacity - level
    return {now, 0, 0, (left - fmod(left, interval)) / interval, ticks > 0 and ms + 1 or ms}
  end
end

local count, all, answer, levels = #KEYS / 2, true, {now}, {}
for i = 1, count do
  local cost, interval, per_ms, capacity, bound = numbers('<ddddd', asked, 40 * i - 39)
  local level, delay, reason = level_of(found[2 * i - 1], per_ms, bound), 0, 0
  local blocked = found[2 * i]
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
  local cost, interval, per_ms, capacity = numbers('<dddd', asked, 40 * i - 39)
  local level = levels[i]
  if all and cost > 0 then
    level = level + cost * interval
    local ticks = fmod(level, per_ms)
    save(KEYS[2 * i - 1], (level - ticks) / per_ms, ticks)
  end
  local left, up = math.max(capacity - level, 0), level + per_ms - 1
  answer[4 * i] = (left - fmod(left, interval)) / interval
  answer[4 * i + 1] = (up - fmod(up, per_ms)) / per_ms
end
return answer
