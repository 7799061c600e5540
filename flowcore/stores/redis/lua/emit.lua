-- Add a node's own event, if its attempt is still the valid one. ARGV: run, node, attempt, data
local R = open_run(ARGV[1], FEW)
if not R then return 0 end
local node = tonumber(ARGV[2])
if letter_of(R, node) ~= 'x' then return 0 end
if attempt_of(R, node) ~= tonumber(ARGV[3]) then return 0 end
event(R, 'node.emitted', node, ARGV[3], ARGV[4])
return 1
