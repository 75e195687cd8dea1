-- (spent, held) of one limit. ARGV: 4 key, 5 window.

sweep(1000)
local kind, tag, a, b = string.match(ARGV[5], '^(%S+) (%S+) (%S+) (%S+)$')
local w = locate(ARGV[4], kind, tag, a, b, now)
if not w then
  return answer(head('T'))
end
read(w)
local told = head('S')
told[4], told[5] = w.spent, w.held
return answer(told)
