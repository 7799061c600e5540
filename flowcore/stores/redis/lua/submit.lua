-- Create a run and record the intent to dispatch its starts, once per id.
-- ARGV: run, plan, flow, version, ns, input, tags (msgpack), total, starts and their
--       policies (msgpack), max, fail-fast, timeout ms, retention ms, lease ms, dispatch lease ms,
--       priority, how to share out the starts (msgpack) or ''
local run, plan = ARGV[1], ARGV[2]
local base = base_of(run)
local there = redis.call('HGET', base .. 'run', 'state')
if there then return { 'exists', there } end
if redis.call('EXISTS', PREFIX .. 'plan:' .. plan) == 0 then return { 'noplan' } end
local now = clock()
redis.call('HSET', base .. 'run', 'state', 'pending', 'plan', plan, 'flow', ARGV[3],
  'version', ARGV[4], 'ns', ARGV[5], 'tags', ARGV[7], 'total', ARGV[8], 'left', ARGV[8],
  'active', 0, 'max', ARGV[10], 'fast', ARGV[11], 'timeout', ARGV[12], 'keep', ARGV[13],
  'lease', ARGV[14], 'dlease', ARGV[15], 'created', now, 'prio', ARGV[16])
redis.call('SET', base .. 'in', ARGV[6])
redis.call('SET', base .. 'st', string.rep('p', tonumber(ARGV[8])))
redis.call('ZADD', RUNS, now, run)
if redis.call('HINCRBY', PLANS, plan, 1) == 1 then
  redis.call('PERSIST', PREFIX .. 'plan:' .. plan)
  redis.call('PERSIST', PREFIX .. 'web:' .. plan)
end
local R = open_run(run)
event(R, 'run.created')
local ready = {}
local starts = cmsgpack.unpack(ARGV[9])
for k = 1, #starts, 2 do ready[#ready + 1] = { starts[k], 1, starts[k + 1] } end
if ARGV[17] ~= '' then
  share_out(R, cmsgpack.unpack(ARGV[17]))
  R.spare, R.idle = -1, false -- a client keeps nothing
end
place(R, ready)
save(R)
return { 'created', R.state, R.out, R.bundles }
