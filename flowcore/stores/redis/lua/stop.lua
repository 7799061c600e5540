-- Cancel a run. ARGV: run, reason
local R = open_run(ARGV[1])
if not R then return false end
-- One that is doing what is to be done at its end does that.
if R.closing or R.state == 'succeeded' or R.state == 'failed' or R.state == 'cancelled' then
  return { R.state }
end
if not R.stop then
  R.stop = ARGV[2]
  redis.call('HSET', R.base .. 'run', 'stop', ARGV[2])
end
abort(R)
close(R)
return { R.state }
