-- Decides several limits in one step: all pass and are done, or one is refused and nothing is.
--
-- The arithmetic is that of the pure rules, number for number. Every number is a whole one below 2^53, so
-- doubles hold it exactly; quotas that would exceed this are refused before they come here. A product that
-- may exceed it (a clock far ahead of a bucket) is only ever compared with a smaller one.
--
-- KEYS: per ask its state, its block, and for a log the sum of the log.
-- ARGV: now in milliseconds, or empty for Redis' own clock; how long keys outlive their end; then per ask
--   operation, cost, an instant or span that belongs to the operation, algorithm, and four numbers of the algorithm:
--   g: interval, ticks per millisecond, capacity, bound      f, s, l, c: limit, period, 0, 0
-- Answer: now, then per ask wait, reason (0 none, 1 exceeded, 2 too costly, 3 blocked), remaining, reset.

local now
if ARGV[1] == '' then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
else
  now = tonumber(ARGV[1])
end
local slack = tonumber(ARGV[2])

local function div(a, b) return (a - math.fmod(a, b)) / b end
local function ceil_div(a, b) return div(a + b - 1, b) end
local function clamp(x, low, high) return math.max(low, math.min(high, x)) end
local function text(...)
  local out = {...}
  for i = 1, #out do out[i] = string.format('%.0f', out[i]) end
  return table.concat(out, ':')
end
local function numbers(value)
  local out = {}
  for n in string.gmatch(value, '[^:]+') do out[#out + 1] = tonumber(n) end
  return out
end
local function save(key, value, idle_at)
  redis.call('SET', key, value, 'PX', string.format('%.0f', math.max(idle_at - now, 0) + slack))
end

local rules = {}

-- Token bucket. State: milliseconds and ticks of the theoretical arrival time, as two doubles, which
-- `buckets.lua` reads faster than text.
rules.g = {
  load = function(a)
    local v = redis.call('GET', a.key)
    a.level = 0
    if v then
      local ms, ticks = struct.unpack('<dd', v)
      if ms >= now then a.level = math.min((ms - now) * a.p2 + ticks, a.p4) end
    end
  end,
  capacity = function(a) return a.p3 / a.p1 end,
  wait = function(a)
    local over = a.level + math.min(a.cost * a.p1, a.p4) - a.p3
    return over <= 0 and 0 or ceil_div(over, a.p2)
  end,
  -- How long until the queue takes it.
  queue = function(a)
    local over = a.level + math.min(a.cost * a.p1, a.p4) - a.p3
    local room = math.min(a.till * a.p2, a.p4 - a.p3)
    return over <= room and 0 or ceil_div(over - room, a.p2)
  end,
  charge = function(a, units)
    a.level = clamp(a.level + units * a.p1, 0, a.p4)
    if a.level == 0 then
      redis.call('DEL', a.key)
    else
      local ms, ticks = now + div(a.level, a.p2), math.fmod(a.level, a.p2)
      save(a.key, struct.pack('<dd', ms, ticks), ms + 1)
    end
  end,
  look = function(a)
    return div(math.max(a.p3 - a.level, 0), a.p1), ceil_div(a.level, a.p2)
  end,
}

local function aligned(period) return now - math.fmod(now, period) end

-- Fixed window. State: end of the window, used.
rules.f = {
  load = function(a)
    a.ends, a.used = aligned(a.p2) + a.p2, 0
    local v = redis.call('GET', a.key)
    if v then
      local n = numbers(v)
      if n[1] == a.ends + a.p2 then a.ends = n[1] end
      if n[1] >= a.ends then a.used = n[2] end
    end
  end,
  capacity = function(a) return a.p1 end,
  wait = function(a) return a.used + a.cost <= a.p1 and 0 or a.ends - now end,
  charge = function(a, units)
    a.used = clamp(a.used + units, 0, 2 * a.p1)
    if a.used == 0 then
      redis.call('DEL', a.key)
    else
      save(a.key, text(a.ends, a.used), a.ends)
    end
  end,
  look = function(a) return math.max(a.p1 - a.used, 0), a.used == 0 and 0 or a.ends - now end,
}

-- Sliding window counter. State: start of the window, used in it, used in the one before.
rules.s = {
  load = function(a)
    a.start, a.used, a.before = aligned(a.p2), 0, 0
    local v = redis.call('GET', a.key)
    if v then
      local n = numbers(v)
      if n[1] == a.start or n[1] == a.start + a.p2 then
        a.start, a.used, a.before = n[1], n[2], n[3]
      elseif n[1] == a.start - a.p2 then
        a.before = n[2]
      elseif n[1] > a.start then
        a.used = n[2]
      end
    end
    a.elapsed = math.max(now - a.start, 0)
  end,
  capacity = function(a) return a.p1 end,
  weighed = function(a) return a.before * (a.p2 - a.elapsed) + a.used * a.p2 end,
  wait = function(a)
    if rules.s.weighed(a) + a.cost * a.p2 <= a.p1 * a.p2 then return 0 end
    local function until_fits(before, room)
      return before == 0 and 0 or math.max(a.p2 - div(room * a.p2, before), 0)
    end
    local room = a.p1 - a.used - a.cost
    if room >= 0 then return a.start + until_fits(a.before, room) - now end
    return a.start + a.p2 + until_fits(a.used, math.max(a.p1 - a.cost, 0)) - now
  end,
  charge = function(a, units)
    local sum = a.used + units
    a.used = clamp(sum, 0, 2 * a.p1)
    a.before = clamp(a.before + math.min(sum, 0), 0, 2 * a.p1)
    if a.used == 0 and a.before == 0 then
      redis.call('DEL', a.key)
    else
      save(a.key, text(a.start, a.used, a.before), a.start + (a.used > 0 and 2 or 1) * a.p2)
    end
  end,
  look = function(a)
    local left = math.max(a.p1 * a.p2 - rules.s.weighed(a), 0)
    local reset = 0
    if a.used > 0 then reset = a.start + 2 * a.p2 - now elseif a.before > 0 then reset = a.start + a.p2 - now end
    return div(left, a.p2), reset
  end,
}

-- Sliding log. State: a list of `at:units`, oldest first, and their sum.
local function entry(a, index)
  local v = redis.call('LINDEX', a.key, index)
  if v then
    local n = numbers(v)
    return n[1], n[2]
  end
end
-- Calls f with instant and units of each entry from an index on, until it returns true.
local function each_entry(a, from, f)
  while true do
    local some = redis.call('LRANGE', a.key, from, from + 99)
    for i = 1, #some do
      local n = numbers(some[i])
      if f(n[1], n[2]) then return end
    end
    if #some < 100 then return end
    from = from + 100
  end
end
-- Forgets what no longer counts.
local function prune(a)
  if a.future then
    redis.call('DEL', a.key)
    redis.call('RPUSH', a.key, text(now, a.used))
  elseif a.gone > 0 then
    redis.call('LTRIM', a.key, a.gone, -1)
  end
  a.future, a.gone = false, 0
end
local function save_log(a)
  a.last = entry(a, -1)
  if a.last then
    local life = string.format('%.0f', math.max(a.last + a.p2 - now, 0) + slack)
    redis.call('SET', a.sum, text(a.used), 'PX', life)
    redis.call('PEXPIRE', a.key, life)
  else
    redis.call('DEL', a.sum)
  end
end
-- Where the entry of an instant lies and its units; else the text of the first later one.
local function find_entry(a, instant)
  local index, found, units, later = -1, nil, nil, nil
  each_entry(a, 0, function(at, n)
    index = index + 1
    if at == instant then
      found, units = index, n
    elseif at > instant then
      later = text(at, n)
    end
    return at >= instant
  end)
  return found, units, later
end
rules.l = {
  load = function(a)
    a.last = entry(a, -1)
    a.used, a.gone, a.future = 0, 0, false
    if not a.last then return end
    a.used = tonumber(redis.call('GET', a.sum) or '0')
    if a.last > now + a.p2 then
      -- The clock was set back by more than the period: all of it counts as of now.
      a.future, a.last = true, now
      return
    end
    each_entry(a, 0, function(at, units)
      if at > now - a.p2 then return true end
      a.gone, a.used = a.gone + 1, a.used - units
    end)
  end,
  capacity = function(a) return a.p1 end,
  wait = function(a)
    local over = a.used + a.cost - a.p1
    if over <= 0 then return 0 end
    local wait = a.p2
    if not a.future then
      each_entry(a, a.gone, function(at, units)
        over = over - units
        if over <= 0 then
          wait = at + a.p2 - now
          return true
        end
      end)
    end
    return wait
  end,
  charge = function(a, units)
    prune(a)
    units = clamp(units, -a.used, 2 * a.p1 - a.used)
    a.used = a.used + units
    if units > 0 then
      local at, n = entry(a, -1)
      if at and at >= now then
        redis.call('LSET', a.key, -1, text(at, n + units))
      else
        redis.call('RPUSH', a.key, text(now, units))
      end
    end
    -- A refund takes back the newest calls first.
    local back = math.max(-units, 0)
    while back > 0 do
      local at, n = entry(a, -1)
      if not at then break end
      if n > back then redis.call('LSET', a.key, -1, text(at, n - back)) else redis.call('RPOP', a.key) end
      back = back - math.min(n, back)
    end
    save_log(a)
  end,
  look = function(a) return math.max(a.p1 - a.used, 0), a.used == 0 and 0 or a.last + a.p2 - now end,
}

-- Calls in flight: a log in which each entry stands at its own instant and can be taken out by it. An entry
-- stays for one period, its lease.
rules.c = {
  load = rules.l.load,
  capacity = rules.l.capacity,
  wait = rules.l.wait,
  look = rules.l.look,
  charge = function(a, units)
    if units <= 0 then return rules.l.charge(a, units) end
    prune(a)
    units = math.min(units, 2 * a.p1 - a.used)
    if units > 0 then
      local at, n, later
      -- Most calls are the newest of all, which needs no search.
      local last = entry(a, -1)
      if last and last >= now then at, n, later = find_entry(a, now) end
      if at then
        redis.call('LSET', a.key, at, text(now, n + units))
      elseif later then
        redis.call('LINSERT', a.key, 'BEFORE', later, text(now, units))
      else
        redis.call('RPUSH', a.key, text(now, units))
      end
      a.used = a.used + units
    end
    save_log(a)
  end,
  release = function(a, units, instant)
    prune(a)
    local at, n = find_entry(a, instant)
    if at then
      local back = math.min(units, n)
      if back == n then
        redis.call('LREM', a.key, 1, text(instant, n))
      else
        redis.call('LSET', a.key, at, text(instant, n - back))
      end
      a.used = a.used - back
    end
    save_log(a)
  end,
  -- How long until it passes, were what was taken at the instant given back.
  renew = function(a)
    if a.future then
      local held = a.till == now and math.min(a.cost, a.used) or 0
      return a.used - held + a.cost > a.p1 and a.p2 or 0
    end
    local over, wait = a.used + a.cost - a.p1, a.p2
    local at, n = find_entry(a, a.till)
    if at and at >= a.gone then over = over - math.min(a.cost, n) else at = nil end
    if over <= 0 then return 0 end
    each_entry(a, a.gone, function(instant, units)
      if at and instant == a.till then units = math.max(units - a.cost, 0) end
      over = over - units
      if over <= 0 then
        wait = instant + a.p2 - now
        return true
      end
    end)
    return wait
  end,
}

local asks, key, arg = {}, 1, 3
while arg <= #ARGV do
  local kind = ARGV[arg + 3]
  local a = {
    op = ARGV[arg], cost = tonumber(ARGV[arg + 1]), till = tonumber(ARGV[arg + 2]), rule = rules[kind],
    p1 = tonumber(ARGV[arg + 4]), p2 = tonumber(ARGV[arg + 5]), p3 = tonumber(ARGV[arg + 6]), p4 = tonumber(ARGV[arg + 7]),
    key = KEYS[key], block = KEYS[key + 1], reason = 0, delay = 0,
  }
  key = key + 2
  if kind == 'l' or kind == 'c' then
    a.sum = KEYS[key]
    key = key + 1
  end
  arg = arg + 8
  a.rule.load(a)
  asks[#asks + 1] = a
end

local all = true
for _, a in ipairs(asks) do
  if a.op == 'take' or a.op == 'peek' or a.op == 'queue' or a.op == 'renew' then
    if a.cost > a.rule.capacity(a) then
      a.reason = 2
    else
      a.delay = (a.op == 'queue' or a.op == 'renew') and a.rule[a.op](a) or a.rule.wait(a)
      local blocked = tonumber(redis.call('GET', a.block) or '0') - now
      if blocked > 0 then
        a.delay, a.reason = math.max(a.delay, blocked), 3
      elseif a.delay > 0 then
        a.reason = 1
      elseif a.op == 'queue' then
        a.delay = a.rule.wait(a)
      end
    end
    all = all and a.reason == 0
  end
end

if all then
  for _, a in ipairs(asks) do
    if a.op == 'take' or a.op == 'penalty' or a.op == 'queue' then
      if a.cost > 0 then a.rule.charge(a, a.cost) end
    elseif a.op == 'release' or a.op == 'renew' then
      if a.cost > 0 then
        a.rule.release(a, a.cost, a.till)
        if a.op == 'renew' then a.rule.charge(a, a.cost) end
      end
    elseif a.op == 'refund' then
      if a.cost > 0 then a.rule.charge(a, -a.cost) end
    elseif a.op == 'reset' then
      a.rule.charge(a, -2 ^ 53)
      redis.call('DEL', a.block)
    elseif a.op == 'block' then
      if a.till > now then save(a.block, text(a.till), a.till) else redis.call('DEL', a.block) end
    end
  end
end

local answer = {now}
for _, a in ipairs(asks) do
  local remaining, reset = a.rule.look(a)
  answer[#answer + 1] = a.delay
  answer[#answer + 1] = a.reason
  answer[#answer + 1] = remaining
  answer[#answer + 1] = reset
end
return answer
