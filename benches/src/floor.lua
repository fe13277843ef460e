-- The least that a token bucket in Redis costs: read the clock, read one key, write it, answer.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local wait = tat + interval - now - capacity
if wait > 0 then return {0, wait} end
redis.call('SET', KEYS[1], tat + interval, 'PX', math.ceil(tat + interval - now) + 1000)
return {1, 0}
