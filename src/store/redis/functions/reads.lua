-- Functions that only read. They are functions because they check the epoch in the same step: what is not there in a database
-- that is not ours is not "none".

-- Takes a hash and fields. Gives their values.
step('get', {'no-writes'}, function(tag, args)
  return redis.call('HMGET', tag .. args[3], unpack(args, 4))
end)

-- Takes a hash. Gives its fields and values.
step('all', {'no-writes'}, function(tag, args)
  return redis.call('HGETALL', tag .. args[3])
end)

-- Takes the hash of a template. Gives its newest version: they are counted from 1 and none is ever deleted.
step('newest', {'no-writes'}, function(tag, args)
  return {digits(redis.call('HLEN', tag .. args[3]))}
end)

-- Takes keys of deliveries. Gives for each its value and the fence of its lease.
step('look', {'no-writes'}, function(tag, args)
  local answer = {}
  for one = 3, #args do
    local message, recipient = split(args[one])
    local lease = lease_of(tag, args[one])
    table.insert(answer, redis.call('HGET', tag .. 'm:' .. message, 'd' .. recipient))
    table.insert(answer, lease and lease.fence or false)
  end
  return answer
end)

-- Takes a Message. Gives its deliveries in their order, false for one that is missing.
step('deliveries', {'no-writes'}, function(tag, args)
  local name, answer = tag .. 'm:' .. args[3], {}
  for recipient = 0, tonumber(redis.call('HGET', name, 'c') or '0') - 1 do
    table.insert(answer, redis.call('HGET', name, 'd' .. digits(recipient)))
  end
  return answer
end)

-- Takes a Message and how many at most. Gives its events, oldest first.
step('events', {'no-writes'}, function(tag, args)
  if args[4] == '0' then
    return {}
  end
  return redis.call('LRANGE', tag .. 'e:' .. args[3], 0, tonumber(args[4]) - 1)
end)

-- Takes the key of a Delivery. Gives its value, when its lease ends ('' for none), and how many are parked before it ('' when
-- it is not parked there now); nothing when there is no such Delivery.
step('place', {'no-writes'}, function(tag, args)
  local message, recipient = split(args[3])
  local value = redis.call('HGET', tag .. 'm:' .. message, 'd' .. recipient)
  if not value then
    return {}
  end
  local lane, rank = lane_of(value), false
  if lane ~= '' then
    rank = redis.call('ZRANK', tag .. 'lane:' .. lane, args[3])
  end
  return {value, redis.call('ZSCORE', tag .. 'until', args[3]) or '', rank and digits(rank) or ''}
end)
