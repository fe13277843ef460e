-- Takes from several token buckets in one step: all pass and are charged, or one refuses and none is.
--
-- The usual case of `limits.lua`, for what is done millions of times: the same keys, the same arithmetic and
-- the same answer, with one read for all. Numbers travel as doubles in strings: turning numbers into text and
-- back is most of what a script of this size costs. (`%` is exact here, as all numbers are whole and below 2^53.)
--
-- KEYS: per bucket its state and its block.
-- ARGV: doubles in one string: now in milliseconds, or less than 0 for Redis' own clock; how long keys outlive
--   their end; then per bucket cost, interval, ticks per millisecond, capacity, bound.
-- Answer: that of `limits.lua`, as doubles in one string.

local asked, call, numbers, pack = ARGV[1], redis.call, struct.unpack, struct.pack
local now, slack = numbers('<dd', asked)
if now < 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

-- What a bucket has still to pay for, in ticks.
local function level_of(state, per_ms, bound)
  if not state then return 0 end
  local ms, ticks = numbers('<dd', state)
  return ms < now and 0 or math.min((ms - now) * per_ms + ticks, bound)
end

local function save(key, level, per_ms)
  local ticks = level % per_ms
  local ms = (level - ticks) / per_ms
  call('SET', key, pack('<dd', now + ms, ticks), 'PX', string.format('%d', ms + 1 + slack))
end

local found = call('MGET', unpack(KEYS))

-- One bucket that nobody blocked and that has room: nearly every call.
if #KEYS == 2 and not found[2] then
  local cost, interval, per_ms, capacity, bound = numbers('<ddddd', asked, 17)
  local level = level_of(found[1], per_ms, bound) + cost * interval
  if level <= capacity then
    if cost > 0 then save(KEYS[1], level, per_ms) end
    local left, up = capacity - level, level + per_ms - 1
    return pack('<ddddd', now, 0, 0, (left - left % interval) / interval, (up - up % per_ms) / per_ms)
  end
end

local count, all, answer, levels = #KEYS / 2, true, {now}, {}
for i = 1, count do
  local cost, interval, per_ms, capacity, bound = numbers('<ddddd', asked, 40 * i - 23)
  local level, delay, reason = level_of(found[2 * i - 1], per_ms, bound), 0, 0
  local blocked = found[2 * i]
  if cost > capacity / interval then
    reason, all = 2, false
  else
    local over = level + cost * interval - capacity
    if over > 0 then
      over = over + per_ms - 1
      delay, reason, all = (over - over % per_ms) / per_ms, 1, false
    end
    if blocked and tonumber(blocked) > now then
      delay, reason, all = math.max(delay, blocked - now), 3, false
    end
  end
  levels[i] = level
  answer[4 * i - 2], answer[4 * i - 1] = delay, reason
end

for i = 1, count do
  local cost, interval, per_ms, capacity = numbers('<dddd', asked, 40 * i - 23)
  local level = levels[i]
  if all and cost > 0 then
    level = level + cost * interval
    save(KEYS[2 * i - 1], level, per_ms)
  end
  local left, up = math.max(capacity - level, 0), level + per_ms - 1
  answer[4 * i] = (left - left % interval) / interval
  answer[4 * i + 1] = (up - up % per_ms) / per_ms
end
return pack('<' .. string.rep('d', #answer), unpack(answer))
