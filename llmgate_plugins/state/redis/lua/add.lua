-- Adds to a counter, whose time runs from its first use. KEYS: 2 the counter. ARGV: 4 amount,
-- 5 milliseconds.

local there = redis.call('EXISTS', KEYS[2]) == 1
local total = redis.call('INCRBY', KEYS[2], ARGV[4])
if not there then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return total
