-- Add what a node has said, if its attempt is still the valid one.
-- ARGV: run, node, attempt and turn, notes (msgpack), how many they are, most bytes a run may say, which
--       notes of the attempt these are: 1, 2, ... One who got no answer says the same again.
-- Returns 0 the attempt is not valid, 1 heard, 2 the run has said as much as it may.
local R = open_run(ARGV[1], FEW)
if not R then return 0 end
local node = tonumber(ARGV[2])
if letter_of(R, node) ~= 'x' then return 0 end
if not is_held(R, node, ARGV[3]) then return 0 end
local mine = ARGV[3]:match('^%d+')
local attempt, number = (redis.call('HGET', R.base .. 'heard', node) or ''):match('^(%d+) (%d+)$')
if attempt == mine and tonumber(number) >= tonumber(ARGV[7]) then return 1 end
local most = tonumber(ARGV[6])
local said = redis.call('HINCRBY', R.base .. 'run', 'said', #ARGV[4])
if said <= most then
  batch(R, ARGV[4], tonumber(ARGV[5]), 'notes', node, mine)
  redis.call('HSET', R.base .. 'heard', node, mine .. ' ' .. ARGV[7])
  return 1
end
if said - #ARGV[4] <= most then event(R, 'stream.gap', node, mine, FULL) end
return 2
