-- Note a trouble. ARGV: loop, item, why, how many are kept
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
return note_trouble(ARGV[1], ARGV[2], ARGV[3], now, tonumber(ARGV[4]))
