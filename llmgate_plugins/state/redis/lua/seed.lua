-- What the books say of windows that were unseeded. ARGV: for each limit its key, "WINDOW START
-- SPENDS OPEN", then SPENDS times "AT AMOUNT" and OPEN times an id and "AMOUNT ESTIMATE EXPIRES".

local i = 4
while i <= #ARGV do
  local key = ARGV[i]
  local kind, tag, a, b, start, spends, open =
    string.match(ARGV[i + 1], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  start = tonumber(start)
  local first_spend = i + 2
  local first_open = first_spend + tonumber(spends)
  i = first_open + 2 * tonumber(open)
  local w = locate(key, kind, tag, a, b, now)
  local fits = w and (kind == 'n' or (kind == 'r' and start <= w.starts) or start == w.starts)
  if fits and not read(w).known then
    redis.call('HSET', w.meter, 'k', 1)
    if kind == 'r' then
      for _, field in ipairs(redis.call('HKEYS', w.meter)) do
        if string.match(field, '^s%d*$') then
          redis.call('HDEL', w.meter, field)
        end
      end
      redis.call('HSETNX', w.meter, 'o', w.newest - PARTS)
      for n = first_spend, first_open - 1 do
        local at, amount = string.match(ARGV[n], '^(%S+) (%S+)$')
        local number = math.min(math.floor(tonumber(at) / tonumber(a)), w.newest)
        local moment = string.format('%.0f', number)
        count({ w.meter, 'r', moment, w.part, key, '0', '0' }, amount, '0')
      end
    elseif kind ~= 'n' then
      redis.call('HSET', w.meter, 's', 0)
      for n = first_spend, first_open - 1 do
        redis.call('HINCRBY', w.meter, 's', string.match(ARGV[n], '(%S+)$'))
      end
    end
    for n = first_open, i - 1, 2 do
      local id = ARGV[n]
      local amount, estimate, expires = string.match(ARGV[n + 1], '^(%S+) (%S+) (%S+)$')
      local entry = { w.meter, w.kind, w.moment, w.part, key, amount, estimate }
      local lease = lease_of(id)
      local there = nil
      for _, one in ipairs(lease and lease.o or {}) do
        if one[1] == w.meter then
          there = one
        end
      end
      if there then
        if lease.d or lease.x then -- what it counts for was replaced just now
          count(there, there[7], '0')
        end
      elseif not (lease and lease.d) then
        local over = tonumber(expires) <= now
        lease = lease or { o = {}, t = 1 }
        lease.x = over and 1 or lease.x
        lease.o[#lease.o + 1] = entry
        if over then
          count(entry, estimate, '0')
        else
          count(entry, '0', amount)
          expire(id, tonumber(expires))
        end
        local left = redis.call('PTTL', LEASE .. id)
        keep(id, lease, math.max(left, needed(w), math.ceil((tonumber(expires) - now + LONGEST + 7200) * 1000), 1000))
      end
    end
    redis.call('PEXPIRE', w.meter, needed(w))
  end
end
return answer(head('S'))
