-- Prolong leases. ARGV: run, node, attempt and turn, ... or run, unit, '', ...
-- Returns one number each: 0 go on, 1 stop (the run is stopping), 2 the lease is lost.
local verdicts = {}
for k = 1, #ARGV, 3 do
  local R, what = open_run(ARGV[k], FEW), ARGV[k + 1]
  local mine = false
  if R and ARGV[k + 2] == '' then
    local text = redis.call('HGET', R.base .. 'own', what)
    mine = text and text:sub(1, 1) == 'x'
  elseif R then
    local node = tonumber(what)
    mine = letter_of(R, node) == 'x' and is_held(R, node, ARGV[k + 2])
  end
  if mine then redis.call('ZADD', AGENDA, R.now + R.lease, R.run .. '|' .. what) end
  verdicts[#verdicts + 1] = mine and (R.state == 'stopping' and 1 or 0) or 2
end
return verdicts
