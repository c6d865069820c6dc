-- What happens to a Delivery that is out: parked, given back, renewed, INTENT, OUTCOME; and cancelled.
--
-- All of these drain the store, so they work when Redis is full. Each checks the fence in the same step as it writes.

local function put_delivery(tag, key, value)
  local message, recipient = split(key)
  redis.call('HSET', tag .. 'm:' .. message, 'd' .. recipient, value)
end

-- Takes for each: key, fence, new value, score, expiry.
step('park', {'allow-oom'}, function(tag, args)
  for one = 3, #args, 5 do
    local key, value = args[one], args[one + 2]
    local lease = held(tag, key, args[one + 1])
    if lease then
      leave(tag, key, lease)
      put_delivery(tag, key, value)
      step_under_lane(tag, key, lane_of(value), args[one + 3], args[one + 4])
    end
  end
  return {}
end)

-- Takes for each: key, fence, new value, due time.
step('release', {'allow-oom'}, function(tag, args)
  for one = 3, #args, 4 do
    local key, value = args[one], args[one + 2]
    local lease = held(tag, key, args[one + 1])
    if lease then
      leave(tag, key, lease)
      put_delivery(tag, key, value)
      redis.call('ZADD', tag .. 'due:' .. class_of(value), args[one + 3], key)
    end
  end
  return {}
end)

-- Takes when they end, and for each: key, fence. Gives for each '1' if it was renewed, '0' if it was lost.
step('renew', {'allow-oom'}, function(tag, args)
  local answer = {}
  for one = 4, #args, 2 do
    local key = args[one]
    local lease = held(tag, key, args[one + 1])
    if lease and redis.call('ZADD', tag .. 'until', args[3], key) == 1 then
      hide(tag, key, lease)
    end
    table.insert(answer, lease and '1' or '0')
  end
  return answer
end)

-- Whether an entry of the suppression list forbids mail of a stream.
local function is_suppressed(tag, field, stream)
  local entry = redis.call('HGET', tag .. 'suppressed', field)
  local held_for = entry and string.sub(entry, 1, 1)
  return entry and (held_for == '0' or held_for == stream)
end

-- Takes one from the budget of a lane for a day, if the cap allows it; gives whether it did. Days never come back: a charge
-- for an earlier day is one for the last that there was.
local function charge(hash, lane, day, cap)
  local known, last, used = redis.call('HGET', hash, lane), day, 0
  if known then
    local known_day, known_used = string.match(known, '^(%d+) (%d+)$')
    if tonumber(known_day) >= day then
      last, used = tonumber(known_day), tonumber(known_used)
    end
  end
  if used >= cap then
    return false
  end
  redis.call('HSET', hash, lane, digits(last) .. ' ' .. digits(used + 1))
  return true
end

-- Takes a lane, the day, the cap. Gives whether it was charged. For a cluster, where the budget and the mail are not in one
-- place: there the charge comes before the INTENT.
step('charge', {'allow-oom'}, function(tag, args)
  return {charge(tag .. 'charges', args[3], tonumber(args[4]), tonumber(args[5])) and '1' or '0'}
end)

-- Takes one back into the budget of a lane, if that day was its last; takes the lane and the day. Who asks again may have got it
-- the first time, and gets nothing: too much of a budget left is too much mail.
step('refund', {'allow-oom'}, function(tag, args, again)
  local known = redis.call('HGET', tag .. 'charges', args[3])
  if again or not known then
    return {}
  end
  local day, used = string.match(known, '^(%d+) (%d+)$')
  if day == args[4] and tonumber(used) > 0 then
    redis.call('HSET', tag .. 'charges', args[3], day .. ' ' .. digits(tonumber(used) - 1))
  end
  return {}
end)

-- Takes key, fence, time, expiry, the address on the suppression list, the stream, the record; the hash of warm-up budgets ('' for
-- none), the lane, the day, the cap.
step('intent', {'allow-oom'}, function(tag, args, again)
  local key, at = args[3], tonumber(args[5])
  local message, recipient = split(key)
  local name, field = tag .. 'm:' .. message, 'i' .. recipient
  local ends = held(tag, key, args[4]) and redis.call('ZSCORE', tag .. 'until', key)
  if not ends or tonumber(ends) <= at then
    return {'stale'}
  end
  if again and redis.call('HGET', name, field) == args[9] then
    return {'recorded'}
  end
  if tonumber(args[6]) <= at then
    return {'expired'}
  end
  if is_suppressed(tag, args[7], args[8]) then
    return {'suppressed'}
  end
  if args[10] ~= '' and not charge(args[10], args[11], tonumber(args[12]), tonumber(args[13])) then
    return {'warmup_cap'}
  end
  redis.call('HSET', name, field, args[9])
  return {'recorded'}
end)

-- Puts an entry on the suppression list. It never gets narrower by another one; two different streams make it all mail.
local function suppress(tag, field, stream, entry, wide)
  local before = redis.call('HGET', tag .. 'suppressed', field)
  local held_for = before and string.sub(before, 1, 1)
  if held_for == '0' and stream ~= '0' then
    return
  end
  if held_for and held_for ~= stream then
    redis.call('HSET', tag .. 'suppressed', field, '0' .. wide)
  else
    redis.call('HSET', tag .. 'suppressed', field, stream .. entry)
  end
end

-- Takes address, stream, entry, and the same entry for all mail.
step('suppress', {'allow-oom'}, function(tag, args)
  suppress(tag, args[3], args[4], args[5], args[6])
  return {}
end)

-- Takes an address. Gives whether it was on the list.
step('forgive', {'allow-oom'}, function(tag, args)
  return {digits(redis.call('HDEL', tag .. 'suppressed', args[3]))}
end)

-- Applies one Settlement. Gives '0' when it is stale, '1' when it counts, '2' when the body went with it.
local function settle(tag, changes, sequence, one, again)
  local message, recipient = split(one.key)
  local name = tag .. 'm:' .. message
  local lease = held(tag, one.key, one.fence)
  local before = redis.call('HGET', name, 'd' .. recipient)
  if not lease or not before then
    -- The first of two equal calls has made the Delivery what this one wants.
    return again and before == one.value and '1' or '0'
  end
  leave(tag, one.key, lease)
  redis.call('HSET', name, 'd' .. recipient, one.value)
  redis.call('HDEL', name, 'i' .. recipient)
  count(changes, 's' .. state_of(before), -1)
  count(changes, 's' .. state_of(one.value), 1)
  for _, event in ipairs(one.events) do
    tell(sequence, message, event)
  end
  if one.field ~= '' then
    suppress(tag, one.field, one.stream, one.entry, one.wide)
  end
  if not is_final(one.value) then
    redis.call('ZADD', tag .. 'due:' .. class_of(one.value), one.due, one.key)
    return '1'
  end
  count(changes, 'c' .. string.byte(one.value, 2), -1)
  return finish_one(tag, message) and '2' or '1'
end

-- Takes for each: key, fence, new value, due time; address ('' for none), stream, entry, entry for all mail; the number of its
-- events, and these.
step('settle', {'allow-oom'}, function(tag, args, again)
  local answer, changes, sequence = {}, {}, ticks(tag, 'sequence')
  local at = 3
  while at <= #args do
    local events = {}
    for event = at + 9, at + 8 + tonumber(args[at + 8]) do
      table.insert(events, args[event])
    end
    local one = {
      key = args[at], fence = args[at + 1], value = args[at + 2], due = args[at + 3], field = args[at + 4],
      stream = args[at + 5], entry = args[at + 6], wide = args[at + 7], events = events
    }
    table.insert(answer, settle(tag, changes, sequence, one, again))
    at = at + 9 + #events
  end
  write_counts(tag, changes)
  keep(sequence)
  return answer
end)

-- Out of wherever it stands. An entry that nobody has read yet stays in the stream until it is read.
local function withdraw(tag, key, value)
  local lease = lease_of(tag, key)
  if lease then
    leave(tag, key, lease)
  elseif lane_of(value) ~= '' then
    step_from_lane(tag, key, lane_of(value))
  else
    redis.call('ZREM', tag .. 'due:' .. class_of(value), key)
  end
end

-- Takes key, the value that the caller read, the new value, the event. Gives 'changed' when it is not that value any more,
-- 'no' when it may have gone out, 'yes', or 'last' when the body went with it.
step('cancel', {'allow-oom'}, function(tag, args, again)
  local key, message, recipient = args[3], split(args[3])
  local name = tag .. 'm:' .. message
  local found = redis.call('HMGET', name, 'd' .. recipient, 'i' .. recipient)
  if again and found[1] == args[5] then
    return {'yes'}
  end
  if found[1] ~= args[4] then
    return {'changed'}
  end
  if found[2] then
    return {'no'}
  end
  withdraw(tag, key, args[4])
  redis.call('HSET', name, 'd' .. recipient, args[5])
  local sequence = ticks(tag, 'sequence')
  tell(sequence, message, args[6])
  keep(sequence)
  write_counts(tag, {
    ['s' .. state_of(args[4])] = -1, ['s' .. state_of(args[5])] = 1, ['c' .. string.byte(args[4], 2)] = -1
  })
  return {finish_one(tag, message) and 'last' or 'yes'}
end)

