# The two products' documented curl commands, word for word: only host and secrets are variables. `documented.sh NAME`
# runs one; what curl prints beside the body (silent, with headers) is set in its .curlrc.
case $1 in
register)
    # 1. Register intent for the user you act for
    curl -X POST $API/agent/identity \
      -H "Content-Type: application/json" \
      -d '{"type":"service_auth","login_hint":"user@example.com","agent_name":"Claude","scope":"audience:read campaign:read email:send"}'
    ;;
token)
    # 3. Poll until approved
    curl -X POST $API/oauth2/token \
      -H "Content-Type: application/json" \
      -d '{"grant_type":"urn:workos:agent-auth:grant-type:claim","claim_token":"'$CLAIM_TOKEN'"}'
    ;;
projects)
    curl $API/v1/projects \
      -H "Authorization: Bearer $MIGMA_API_KEY"
    ;;
list_agents)
    curl -X POST "$API/functions/v1/list-agents" \
      -H "Authorization: Bearer $MAGPIPE_API_KEY" \
      -H "Content-Type: application/json" \
      -d '{}'
    ;;
password)
    curl -X POST "$API/auth/v1/token?grant_type=password" \
      -H "apikey: $ANON_KEY" \
      -H "Content-Type: application/json" \
      -d '{
        "email": "'"$EMAIL"'",
        "password": "'"$PASSWORD"'"
      }'
    ;;
refresh)
    curl -X POST "$API/auth/v1/token?grant_type=refresh_token" \
      -H "apikey: $ANON_KEY" \
      -H "Content-Type: application/json" \
      -d '{
        "refresh_token": "'$REFRESH_TOKEN'"
      }'
    ;;
esac
