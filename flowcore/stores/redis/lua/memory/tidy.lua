-- Let go the names of threads of which nothing is kept. ARGV: names. Returns how many those were.
local gone = 0
for _, name in ipairs(ARGV) do
  local base = 'fc:{mem:' .. name .. '}:'
  if redis.call('EXISTS', base .. 'head', base .. 'log', base .. 'facts') == 0 then
    redis.call('ZREM', 'fc:memory:late', name)
    gone = gone + redis.call('ZREM', 'fc:memory', name)
  end
end
return gone
