-- ARGV: instance, lease ms, task, token, ... Returns the indices of those that are lost.
local lost = {}
for k = 3, #ARGV, 2 do
  local T = open_task(ARGV[k])
  if holds(T, ARGV[k + 1]) then
    look_at('T', T.id, NOW + ARGV[2])
  else
    lost[#lost + 1] = (k - 3) / 2
  end
end
return lost
