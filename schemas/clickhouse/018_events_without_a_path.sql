-- What received mail tells of a message came by no path that another could have missed: such events have no paths.
ALTER TABLE event_rows MODIFY COLUMN paths
    SimpleAggregateFunction(groupUniqArrayArray, Array(String)) DEFAULT if(path = '', emptyArrayString(), [path]);
