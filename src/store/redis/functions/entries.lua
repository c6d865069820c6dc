-- Mail that producers outside put into the intake stream of a partition, by XADD; and the stream of dead letters.
--
-- An entry that is pending for a node is that node's to decide on, until another one claims it. Each decision checks this and takes
-- the entry out in the same step, so that an entry becomes one mail or one dead letter, whoever else believes to have it.

-- Fields and values of a dead letter at most: Lua's stack is bounded.
local LETTER_PARTS_MAX = 1000

-- Whether an entry is this node's to decide on.
local function is_ours(stream, entry, node)
  local pending = redis.call('XPENDING', stream, GROUP, entry, entry, 1)[1]
  return pending and pending[2] == node
end

local function take_out(stream, entry)
  redis.call('XACK', stream, GROUP, entry)
  redis.call('XDEL', stream, entry)
end

-- The entry of the group's that follows `after`: of those that are pending for this node, or a new one ('>').
local function next_entry(stream, node, after)
  local read = redis.call('XREADGROUP', 'GROUP', GROUP, node, 'COUNT', 1, 'STREAMS', stream, after)
  return read and read[1] and read[1][2][1]
end

local function size_of(parts)
  local size = 0
  for _, part in ipairs(parts) do
    size = size + #part
  end
  return size
end

-- Takes the node, the number of entries at most, when those of others are claimed (milliseconds without a sign), the bytes of
-- one entry and those of all at most. Gives how many wait, how many dead letters there are, and for each entry: id, number of
-- parts, fields and values. One that is larger has one part, its size, and the number '-1'.
step('take_entries', {'allow-oom'}, function(tag, args)
  local stream, node, max, most = tag .. 'intake', args[3], tonumber(args[4]), tonumber(args[6])
  local left = tonumber(args[7])
  local answer = {digits(redis.call('XLEN', stream)), digits(redis.call('XLEN', tag .. 'dead'))}
  if max < 1 then
    return answer
  end
  local claimed = redis.pcall('XAUTOCLAIM', stream, GROUP, node, args[5], '0-0', 'COUNT', max, 'JUSTID')
  if claimed.err then
    redis.call('XGROUP', 'CREATE', stream, GROUP, '0', 'MKSTREAM')
  end
  local after, taken = '0-0', 0
  while taken < max and left > 0 do
    local entry = next_entry(stream, node, after)
    if not entry and after ~= '>' then
      after = '>'
    elseif not entry then
      return answer
    elseif not entry[2] then
      -- Somebody deleted it: nothing is left to decide.
      take_out(stream, entry[1])
    else
      local parts, size = entry[2], size_of(entry[2])
      if size > most then
        parts = {digits(size)}
      end
      answer[#answer + 1] = entry[1]
      answer[#answer + 1] = size > most and '-1' or digits(#parts)
      for _, part in ipairs(parts) do
        answer[#answer + 1] = part
      end
      left, taken = left - size_of(parts), taken + 1
    end
    if entry and after ~= '>' then
      after = entry[1]
    end
  end
  return answer
end)

-- ACCEPT of the mail that an entry asks for, and the end of the entry. Takes the entry and the node, then what `accept` takes.
-- Gives what that gives, or 'gone' when the entry is not this node's any more; then nothing was stored. An earlier answer
-- leaves the entry where it is: whether it is the same call is for the caller to say.
step('accept_entry', {}, function(tag, args, again)
  local stream, entry, node = tag .. 'intake', table.remove(args, 3), table.remove(args, 3)
  if not is_ours(stream, entry, node) then
    local done = again and redis.call('HEXISTS', tag .. 'm:' .. args[8], 'm') == 1
    return {done and '' or 'gone'}
  end
  local answer = accept(tag, args, again)
  if answer[1] == '' then
    take_out(stream, entry)
  end
  return answer
end)

-- Takes an entry and the node. Ends an entry whose mail was accepted before; gives whether it was this node's.
step('drop_entry', {'allow-oom'}, function(tag, args)
  local stream = tag .. 'intake'
  if not is_ours(stream, args[3], args[4]) then
    return {'0'}
  end
  take_out(stream, args[3])
  return {'1'}
end)

-- Takes an entry, the node, the reason, its detail, the time. Moves the entry to the dead letters; gives whether it was this
-- node's.
step('bury_entry', {}, function(tag, args, again)
  local stream, entry = tag .. 'intake', args[3]
  if not is_ours(stream, entry, args[4]) then
    return {again and '1' or '0'}
  end
  local found = redis.call('XRANGE', stream, entry, entry)[1]
  if found then
    local letter = {'reason', args[5], 'detail', args[6], 'at', args[7], 'entry', entry}
    for one = 1, math.min(#found[2], LETTER_PARTS_MAX) do
      letter[#letter + 1] = found[2][one]
    end
    redis.call('XADD', tag .. 'dead', '*', unpack(letter))
  end
  take_out(stream, entry)
  return {'1'}
end)

