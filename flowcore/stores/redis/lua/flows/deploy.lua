-- Keep a flow under its name and version. A plan is kept for as long as a run or a deployed flow has
-- use for it: fc:plans counts them.
-- ARGV: namespace, name@version, what is kept (msgpack), plan
local flows, plans = 'fc:flows:' .. ARGV[1], 'fc:plans'
local plan = ARGV[4]
if redis.call('EXISTS', 'fc:plan:' .. plan) == 0 then return -1 end
local old = redis.call('HGET', flows, ARGV[2])
local was = old and cmsgpack.unpack(old).plan
redis.call('HSET', flows, ARGV[2], ARGV[3])
if was == plan then return 0 end
if redis.call('HINCRBY', plans, plan, 1) == 1 then
  redis.call('PERSIST', 'fc:plan:' .. plan)
  redis.call('PERSIST', 'fc:web:' .. plan)
end
if was and redis.call('HINCRBY', plans, was, -1) <= 0 then
  redis.call('HDEL', plans, was)
  redis.call('PEXPIRE', 'fc:plan:' .. was, 3600000)
  redis.call('PEXPIRE', 'fc:web:' .. was, 3600000)
end
return 1
