-- Prolong leases. ARGV: run, node, attempt, run, node, attempt, ...
-- Returns one number each: 0 go on, 1 stop (the run is stopping), 2 the lease is lost.
local verdicts = {}
for k = 1, #ARGV, 3 do
  local R = open_run(ARGV[k], FEW)
  local node = tonumber(ARGV[k + 1])
  local verdict = 2
  if R and letter_of(R, node) == 'x' and attempt_of(R, node) == tonumber(ARGV[k + 2]) then
    redis.call('ZADD', AGENDA, R.now + R.lease, R.run .. '|' .. node)
    verdict = R.state == 'stopping' and 1 or 0
  end
  verdicts[#verdicts + 1] = verdict
end
return verdicts
