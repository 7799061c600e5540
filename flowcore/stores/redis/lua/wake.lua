-- End the wait of a node that waits for its turn, or the run if it waits for nothing more.
-- ARGV: run, node, attempt
local R = open_run(ARGV[1])
if not R then return false end
local node = tonumber(ARGV[2])
if SETTLED[letter_of(R, node)] then
  redis.call('ZREM', AGENDA, R.run .. '|F')
  return answer(R, close(R))
end
if letter_of(R, node) ~= 'q' or attempt_of(R, node) ~= tonumber(ARGV[3]) then return false end
unpark(R, node, '')
return answer(R, close(R))
