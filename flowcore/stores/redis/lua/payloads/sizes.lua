-- The sizes of a run's outputs: node, bytes, node, bytes ... of those that exist.
-- ARGV: run, then nodes; none: all
local key = 'fc:{' .. ARGV[1] .. '}:out'
local nodes = ARGV
local from = 2
if not ARGV[2] then
  nodes, from = redis.call('HKEYS', key), 1
end
local sizes = {}
for k = from, #nodes do
  local size = redis.call('HSTRLEN', key, nodes[k])
  if size > 0 then -- no msgpack is empty
    sizes[#sizes + 1] = tonumber(nodes[k])
    sizes[#sizes + 1] = size
  end
end
return sizes
