-- Create a run and record the intent to dispatch its starts, once per id.
-- ARGV: run, plan, flow, version, ns, input, tags (msgpack), total, starts and their
--       policies (msgpack), max, fail-fast, timeout ms, retention ms, lease ms, dispatch lease ms,
--       priority, how to share out the starts (msgpack) or '', what to take over from another run
--       (msgpack) or '', the states of that run's nodes, the attempt that starts it (msgpack: run,
--       node, its id, attempt) or '', how many failures it is spared, when
--       its last node, an epilogue, has something to do ('a': always, 'f': upon failure) or '',
--       '1' if its nodes are the items of a map, else '', wire number

-- What need not run again comes from another run: outputs, states, and which edges do not hold.
local function take_over(R, taken)
  local from = base_of(taken.run)
  local function copy(part, nodes)
    for k = 1, #nodes, 1000 do
      local last, filled = math.min(k + 999, #nodes), {}
      local found = redis.call('HMGET', from .. part, unpack(nodes, k, last))
      for at, value in ipairs(found) do
        if value then
          filled[#filled + 1], filled[#filled + 2] = nodes[k + at - 1], value
        end
      end
      if #filled > 0 then redis.call('HSET', R.base .. part, unpack(filled)) end
    end
  end
  copy('out', taken.succeeded)
  copy('dead', taken.succeeded)
  put_letters(R, taken.succeeded, 's')
  put_letters(R, taken.skipped, 'k')
  R.left = R.left - #taken.succeeded - #taken.skipped
  if #taken.succeeded > 0 then event(R, 'nodes.reused', ranges(taken.succeeded)) end
  if #taken.skipped > 0 then event(R, 'nodes.skipped', ranges(taken.skipped)) end
end

local run, plan = ARGV[1], ARGV[2]
local base = base_of(run)
local there = redis.call('HGET', base .. 'run', 'state')
if there then return { 'exists', there } end
local up = ARGV[20] ~= '' and cmsgpack.unpack(ARGV[20]) or nil
local over = up and open_run(up[1])
if up and not may_start(over, up) then
  if redis.call('HEXISTS', PLANS, plan) == 0 then -- put for this run alone
    redis.call('PEXPIRE', PREFIX .. 'plan:' .. plan, 3600000)
    redis.call('PEXPIRE', PREFIX .. 'web:' .. plan, 3600000)
  end
  return { 'orphan' }
end
if redis.call('EXISTS', PREFIX .. 'plan:' .. plan) == 0 then return { 'noplan' } end
local taken = ARGV[18] ~= '' and cmsgpack.unpack(ARGV[18]) or nil
local reused = taken and taken.list
if reused and (redis.call('GET', base_of(taken.run) .. 'st') or '') ~= ARGV[19] then
  return { 'changed' }
end
if up then
  redis.call('HSET', over.base .. 'kids', run, 'o' .. up[2])
  if not over.kids then redis.call('HSET', over.base .. 'run', 'kids', '1') end
end
local now = clock()
redis.call('HSET', base .. 'run', 'state', 'pending', 'plan', plan, 'flow', ARGV[3],
  'version', ARGV[4], 'ns', ARGV[5], 'tags', ARGV[7], 'total', ARGV[8], 'left', ARGV[8],
  'active', 0, 'max', ARGV[10], 'fast', ARGV[11], 'timeout', ARGV[12], 'keep', ARGV[13],
  'lease', ARGV[14], 'dlease', ARGV[15], 'created', now, 'prio', ARGV[16], 'wire', ARGV[24])
if taken then redis.call('HSET', base .. 'run', 'origin', cmsgpack.pack({ taken.run, taken.node })) end
if up then redis.call('HSET', base .. 'run', 'up', ARGV[20]) end
if ARGV[22] ~= '' then redis.call('HSET', base .. 'run', 'epi', ARGV[22]) end
if ARGV[23] ~= '' then redis.call('HSET', base .. 'run', 'whole', '1') end
if ARGV[21] ~= '0' then redis.call('HSET', base .. 'run', 'spared', ARGV[21]) end
redis.call('SET', base .. 'in', ARGV[6])
local letters = string.rep('p', tonumber(ARGV[8]))
if ARGV[22] ~= '' then letters = letters:sub(1, -2) .. 'e' end
redis.call('SET', base .. 'st', letters)
if not up then
  redis.call('ZADD', RUNS, now, run)
elseif redis.call('EXISTS', 'fc:callbacks-high:' .. ARGV[5]) == 1 then -- it is in no index to find it by
  redis.call('ZADD', 'fc:callbacks:' .. ARGV[5], 0, run)
end
if redis.call('HINCRBY', PLANS, plan, 1) == 1 then
  redis.call('PERSIST', PREFIX .. 'plan:' .. plan)
  redis.call('PERSIST', PREFIX .. 'web:' .. plan)
end
local R = open_run(run)
event(R, 'run.created')
if over and over.state == 'paused' then
  R.state = 'paused'
  event(R, 'run.paused')
end
if ARGV[17] ~= '' then
  share_out(R, cmsgpack.unpack(ARGV[17]))
  R.spare, R.idle = -1, false -- a client keeps nothing
end
if reused then
  take_over(R, taken)
  arrive(R, taken.list)
else
  local ready, starts = {}, cmsgpack.unpack(ARGV[9])
  for k = 1, #starts, 2 do ready[#ready + 1] = { starts[k], 1, starts[k + 1] } end
  place(R, ready)
end
close(R)
return { 'created', R.state, R.out, R.bundles }
