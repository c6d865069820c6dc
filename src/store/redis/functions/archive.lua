-- A whole store that moves in, and the order in which one moves out.

-- Takes an idempotency key, its answer, when that is forgotten. What is there stays.
step('remember', {}, function(tag, args)
  redis.call('HSETNX', tag .. 'answers', args[3], args[4])
  redis.call('ZADD', tag .. 'forget', 'NX', args[5], args[3])
  return {}
end)

-- One Delivery of a Message that moves in: its key, value, due time, lane ('' for none) with score and expiry there, and its
-- open INTENT ('' for none).
local function take_in_delivery(tag, args, at, changes)
  local key, value, due, lane = args[at], args[at + 1], args[at + 2], args[at + 3]
  local message, recipient = split(key)
  local name = tag .. 'm:' .. message
  redis.call('HSET', name, 'd' .. recipient, value)
  if args[at + 6] ~= '' then
    redis.call('HSET', name, 'i' .. recipient, args[at + 6])
  end
  count(changes, 's' .. state_of(value), 1)
  if is_final(value) then
    return
  end
  count(changes, 'c' .. string.byte(value, 2), 1)
  if lane ~= '' then
    step_under_lane(tag, key, lane, args[at + 4], args[at + 5])
  else
    redis.call('ZADD', tag .. 'due:' .. class_of(value), due, key)
  end
end

-- Takes a Message that moves in: id, record, body ('' for none), unsettled deliveries, places, time; the number of its
-- deliveries and 7 arguments for each; then for each event its place and its record. One that is there stays as it is.
step('take_in', {}, function(tag, args)
  local message, name = args[3], tag .. 'm:' .. args[3]
  if redis.call('HEXISTS', name, 'm') == 1 then
    return {}
  end
  local changes = {}
  redis.call('HSET', name, 'm', args[4], 'n', args[6], 'c', args[7], 't', args[8])
  if args[5] ~= '' then
    redis.call('HSET', name, 'b', args[5])
  end
  redis.call('ZADD', tag .. (args[6] == '0' and 'done' or 'ages'), args[8], message)
  count(changes, 'messages', 1)
  local at = 10
  for _ = 1, tonumber(args[9]) do
    take_in_delivery(tag, args, at, changes)
    at = at + 7
  end
  for one = at, #args, 2 do
    redis.call('RPUSH', tag .. 'e:' .. message, args[one] .. ' ' .. args[one + 1])
  end
  write_counts(tag, changes)
  return {}
end)

-- Takes a sorted set, and the first and the last place in it. Gives who is there.
step('members', {'no-writes'}, function(tag, args)
  return redis.call('ZRANGE', tag .. args[3], args[4], args[5])
end)
