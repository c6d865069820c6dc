-- What is written beside the work: records of tenants, keys, domains, templates; and what is forgotten.

-- Takes for each: the name of a hash, a field, a value.
step('put', {}, function(tag, args)
  for one = 3, #args, 3 do
    redis.call('HSET', tag .. args[one], args[one + 1], args[one + 2])
  end
  return {}
end)

-- Takes for each note: its kind, its key, its record ('' takes it away).
step('note', {}, function(tag, args)
  for one = 3, #args, 3 do
    local hash = tag .. 'notes:' .. args[one]
    if args[one + 2] == '' then
      redis.call('HDEL', hash, args[one + 1])
    else
      redis.call('HSET', hash, args[one + 1], args[one + 2])
    end
  end
  return {}
end)

-- Takes the hash of the tenant's aliases, the alias, the id that a new template gets, its record. Gives id and version.
step('put_template', {}, function(tag, args, again)
  local aliases, alias, id, version = tag .. args[3], args[4], args[5], 1
  local newest = redis.call('HGET', aliases, alias)
  if newest then
    id, version = string.sub(newest, 1, 16), tonumber(string.sub(newest, 17)) + 1
    if again and redis.call('HGET', tag .. 'template:' .. id, version - 1) == args[6] then
      return {id, digits(version - 1)}
    end
  end
  redis.call('HSET', tag .. 'template:' .. id, version, args[6])
  redis.call('HSET', aliases, alias, id .. digits(version))
  return {id, digits(version)}
end)

-- Takes a time and a number. Deletes that many settled messages accepted before, and answers that were over by then; gives
-- the messages.
step('purge', {'allow-oom'}, function(tag, args)
  local old = redis.call('ZRANGEBYSCORE', tag .. 'done', '-inf', '(' .. args[3], 'LIMIT', 0, args[4])
  for _, message in ipairs(old) do
    redis.call('UNLINK', tag .. 'm:' .. message, tag .. 'e:' .. message)
    redis.call('ZREM', tag .. 'done', message)
  end
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'forget', '-inf', args[3], 'LIMIT', 0, args[4])) do
    redis.call('ZREM', tag .. 'forget', key)
    redis.call('HDEL', tag .. 'answers', key)
  end
  return old
end)

